import { isLogged, type LogLevel } from '../config/flags.ts';
import { type AgentAccessFlags, type StoreFlags, storeConfig } from '../config/store-flags.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import type { StopSignal } from '../lib/stop-signals.ts';
import { describeSkipped } from '../record/flaws.ts';
import type { SkippedKey } from '../record/roll.ts';
import { openStore } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';
import { readTwice } from '../store/store-errors.ts';
import type { Terminal } from './terminal.ts';

/** Everything of the process that a command may use. Only `main.ts` creates it. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly clock: Clock;
  readonly random: () => number;
  /** For data only. Resolves when the text is written. */
  readonly stdout: (text: string) => Promise<void>;
  /** Writes one line for the user. */
  readonly stderr: (line: string) => void;
  /** For a command that shuts down in order: called at each stop signal, which then does not abort `signal`. */
  readonly onStopSignal: (listener: (signal: StopSignal) => void) => void;
  /** Aborts at the first stop signal, unless the command uses `onStopSignal`. */
  readonly signal: AbortSignal;
  /** A command that is about to do the most of its work says that it ends right after it. */
  readonly endsSoon?: () => void;
  /** Resident memory of the process, including the runtime's shared pages. */
  readonly residentBytes: () => number;
  /** This process is the first one of its container, to which the kernel hands each process whose parent ends. Default: false. */
  readonly isProcess1?: boolean;
  /** Path of the built page of the fleet board, beside the program; default: there is none. */
  readonly boardFile?: string | null;
  /** Width of the terminal; undefined where stdout is none. */
  readonly columns?: number | undefined;
  /** What stdout can do beside text; undefined where it is no terminal. */
  readonly terminal?: Terminal | undefined;
  /** The command that starts this program as a child: the runtime, its flags and the script. */
  readonly self: readonly [string, ...string[]];
}

/** Deadline of a whole read command. A roll of 10,000 nodes takes less than a second. */
const READ_DEADLINE_MS = 30_000;

/** The flags of all commands that read the roll. */
export interface ReadFlags extends StoreFlags, AgentAccessFlags {
  readonly logLevel: LogLevel;
  /** Origin of an agent to read from; undefined: the store. */
  readonly agent?: string;
}

/** Opens an existing store, reads, a second time if need be, and closes it. */
export async function readFromStore<T>(
  context: CliContext,
  flags: StoreFlags,
  action: string,
  read: (store: Store, signal: AbortSignal) => Promise<T>,
  deadlineMs = READ_DEADLINE_MS,
): Promise<T> {
  const { clock, random } = context;
  const store = await openStore(storeConfig(flags), { clock, random, signal: context.signal, create: false });
  try {
    const limitMs = Math.max(deadlineMs, flags.timeout ?? 0);
    return await withDeadline(clock, limitMs, context.signal, action, (signal) =>
      readTwice(() => read(store, signal), signal),
    );
  } finally {
    await store.close();
  }
}

/** `tell` for each line that was not among those of the call before; how many more there are makes no other line. */
export function createOnce(tell: (lines: readonly string[]) => void): (lines: readonly string[]) => void {
  let before: readonly string[] = [];
  const withoutCount = (line: string) => line.replace(/\d+ more /, '');
  return (lines) => {
    tell(lines.filter((line) => !before.includes(withoutCount(line))));
    before = lines.map(withoutCount);
  };
}

/** Prints a warning for each line, unless --log-level hides warnings. */
export function warn(context: CliContext, { logLevel }: Pick<ReadFlags, 'logLevel'>, lines: readonly string[]): void {
  if (isLogged(logLevel, 'warn')) for (const line of lines) context.stderr(`warning: ${line}`);
}

const MAX_KEYS_OF_STREAM = 100;

/** Warns about the unreadable keys of a stream, which has them again at each change: of each once, and of so many at most. */
export function streamSkipWarner(context: CliContext, flags: Pick<ReadFlags, 'logLevel'>) {
  const warned = new Set<string>();
  return (skipped: SkippedKey) => {
    if (warned.has(skipped.key) || warned.size >= MAX_KEYS_OF_STREAM) return;
    warned.add(skipped.key);
    warn(context, flags, describeSkipped([skipped]));
  };
}
