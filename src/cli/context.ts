import { isLogged, type LogLevel } from '../config/flags.ts';
import { type AgentAccessFlags, type StoreFlags, storeConfig } from '../config/store-flags.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { printable } from '../lib/foreign-text.ts';
import type { StopSignal } from '../lib/stop-signals.ts';
import { refusedFields } from '../record/codec.ts';
import { describeSkew } from '../record/node-clock.ts';
import type { RollEntry, SkippedKey } from '../record/roll.ts';
import type { NodeSummary } from '../record/summary.ts';
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
/** More warnings would push the result off the screen. */
const MAX_WARNINGS = 5;
const MAX_LINE = 500;

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

/** Warns about fields of records that hold something else than they should, unless --log-level hides warnings. */
export function warnOfRefused(
  context: CliContext,
  { logLevel }: ReadFlags,
  entries: readonly RollEntry<NodeSummary>[],
): void {
  if (!isLogged(logLevel, 'warn')) return;
  const flawed = entries.filter(({ record }) => refusedFields(record).length > 0);
  for (const { record } of flawed.slice(0, MAX_WARNINGS)) {
    const fields = refusedFields(record).join(', ');
    context.stderr(
      printable(`warning: the record of ${record.ec2InstanceId} has an invalid ${fields}`).slice(0, MAX_LINE),
    );
  }
  const more = flawed.length - MAX_WARNINGS;
  if (more > 0) context.stderr(`warning: ${more} more records have invalid fields`);
}

/** Warns about nodes whose clock is off, since the instants of their records are by it, unless --log-level hides warnings. */
export function warnOfClocks(
  context: CliContext,
  { logLevel }: ReadFlags,
  entries: readonly RollEntry<NodeSummary>[],
): void {
  if (!isLogged(logLevel, 'warn')) return;
  const skews = entries.flatMap(({ record }) => describeSkew(record) ?? []);
  for (const skew of skews.slice(0, MAX_WARNINGS))
    context.stderr(`warning: ${skew}; the times in its record are by it`);
  const more = skews.length - MAX_WARNINGS;
  if (more > 0) context.stderr(`warning: the clocks of ${more} more nodes are off`);
}

/** Warns about unreadable keys on stderr, unless --log-level hides warnings. */
export function warnOfSkipped(
  context: CliContext,
  { logLevel }: Pick<ReadFlags, 'logLevel'>,
  skipped: readonly SkippedKey[],
): void {
  if (!isLogged(logLevel, 'warn')) return;
  for (const { key, reason } of skipped.slice(0, MAX_WARNINGS)) {
    context.stderr(printable(`warning: skipped ${key}: ${reason}`).slice(0, MAX_LINE));
  }
  const more = skipped.length - MAX_WARNINGS;
  if (more > 0) context.stderr(`warning: skipped ${more} more unreadable keys`);
}

const MAX_KEYS_OF_STREAM = 100;

/** Warns about the unreadable keys of a stream, which has them again at each change: of each once, and of so many at most. */
export function streamSkipWarner(context: CliContext, flags: Pick<ReadFlags, 'logLevel'>) {
  const warned = new Set<string>();
  return (skipped: SkippedKey) => {
    if (warned.has(skipped.key) || warned.size >= MAX_KEYS_OF_STREAM) return;
    warned.add(skipped.key);
    warnOfSkipped(context, flags, [skipped]);
  };
}
