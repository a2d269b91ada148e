import { escapeOutput } from '../lib/foreign-text.ts';

type TextColour = 'red' | 'yellow' | 'green' | 'grey';

/** What stdout can do beside text, where it is a terminal. Text is escaped: no record controls the terminal. */
export interface Terminal {
  /** Of the window as it is now. */
  readonly columns: () => number;
  readonly rows: () => number;
  /** Clears the screen and writes from its top. */
  readonly redraw: (text: string) => Promise<void>;
  /** Writes the pieces one after the other, each in its colour where the terminal has colours and NO_COLOR is not set. */
  readonly write: (pieces: readonly Piece[]) => Promise<void>;
}

export interface Piece {
  readonly text: string;
  readonly colour?: TextColour | undefined;
}

/** Of node's `tty.WriteStream`. */
interface TerminalStream {
  readonly columns?: number;
  readonly rows?: number;
  hasColors?(): boolean;
  write(text: string, done: () => void): boolean;
}

/** ECMA-48: the colours, and the end of a colour. */
const COLOURS: Readonly<Record<TextColour, string>> = { red: '31', yellow: '33', green: '32', grey: '90' };
const CLEAR = '\u001b[H\u001b[2J';

export function openTerminal(stream: TerminalStream, env: Readonly<Record<string, string | undefined>>): Terminal {
  const colours = !env['NO_COLOR'] && stream.hasColors?.() === true;
  const write = (text: string) => new Promise<void>((resolve) => stream.write(text, resolve));
  return {
    // 0: nothing has set the size, as on a serial console or in some containers.
    columns: () => stream.columns || 80,
    rows: () => stream.rows || 24,
    redraw: (text) => write(`${CLEAR}${escapeOutput(text)}`),
    write: (pieces) =>
      write(
        pieces
          .map(({ text, colour }) => {
            const safe = escapeOutput(text);
            return colours && colour ? `\u001b[${COLOURS[colour]}m${safe}\u001b[0m` : safe;
          })
          .join(''),
      ),
  };
}
