type Fields = Readonly<Record<string, string | number>>;

interface WriteLine {
  (message: string): void;
  (fields: Fields, message: string): void;
}

type Severity = 'debug' | 'info' | 'warn' | 'error';

export type Log = { readonly [Each in Severity]: WriteLine };

interface JsonLogOptions {
  readonly isLogged: (severity: Severity) => boolean;
  readonly wallMs: () => number;
  /** Called with each line, its newline included. */
  readonly write: (line: string) => void;
  /** Each line begins with its priority, sd-daemon(3): journald takes it off and stores it. */
  readonly priorities?: boolean;
  /** Fields that every line has. */
  readonly always?: () => Fields;
}

/** The syslog priorities, which journald filters by. */
const PRIORITIES: Readonly<Record<Severity, number>> = { debug: 7, info: 6, warn: 4, error: 3 };

/** One JSON object a line: level, time in RFC 3339, the fields, and the message as `msg`. */
export function createJsonLog({ isLogged, wallMs, write, priorities = false, always }: JsonLogOptions): Log {
  const lines =
    (severity: Severity): WriteLine =>
    (...said: [string] | [Fields, string]) => {
      if (!isLogged(severity)) return;
      const [fields, msg] = said.length === 1 ? [{}, said[0]] : said;
      const time = new Date(wallMs()).toISOString();
      const json = JSON.stringify({ level: severity, time, ...always?.(), ...fields, msg });
      write(`${priorities ? `<${PRIORITIES[severity]}>` : ''}${json}\n`);
    };
  return { debug: lines('debug'), info: lines('info'), warn: lines('warn'), error: lines('error') };
}
