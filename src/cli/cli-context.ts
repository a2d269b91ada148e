import type { Clock } from '../timing/clock.ts';

/** What a command may use of the process it runs in. Only `main.ts` makes one. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly clock: Clock;
  readonly random: () => number;
  /** Resolves when the text is written; data only. */
  readonly stdout: (text: string) => Promise<void>;
  /** One line for a person. */
  readonly stderr: (line: string) => void;
  /** For a command that leaves in good order: calls back at each SIGTERM or SIGINT, which then abort nothing. */
  readonly onStopSignal: (listener: () => void) => void;
  /** Aborts at the first SIGTERM or SIGINT, unless the command asked for `onStopSignal`. */
  readonly signal: AbortSignal;
  /** How to start this program again as a child: the runtime and the script. */
  readonly self: readonly string[];
}
