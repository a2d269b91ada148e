import type { Logger } from 'pino';
import { isLogged, type LogLevel } from '../config/flags.ts';
import { type StoreFlags, storeConfig } from '../config/store.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { printable } from '../lib/errors.ts';
import type { SkippedKey } from '../record/roll.ts';
import { openStore } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';

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
  /** Resident memory of the process, shared pages of the runtime included. */
  readonly residentBytes: () => number;
  /** How to start this program again as a child: the runtime, its own flags and the script. */
  readonly self: readonly [string, ...string[]];
}

/**
 * JSON lines on stderr, which journald keeps with the unit. Written synchronously: an agent that logs a few lines a
 * day gains nothing from a buffer, and one that ends must not lose its last line.
 */
export async function createLog(level: LogLevel): Promise<Logger> {
  // Loaded here: a command that only reads does without a logger.
  const { pino } = await import('pino');
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}

/** Of a whole reading command. A roll of 10,000 nodes takes well under a second. */
const READ_DEADLINE_MS = 30_000;
/** More warnings than that push the answer off the screen. */
const MAX_WARNINGS = 5;
const MAX_LINE = 500;

/** The flags of every command that reads the store. */
export interface ReadFlags extends StoreFlags {
  readonly logLevel: LogLevel;
}

/** Opens the store of a command that only reads, never creating one; reads; closes it. */
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
    return await withDeadline(clock, deadlineMs, context.signal, action, (signal) => read(store, signal));
  } finally {
    await store.close();
  }
}

/** Names what could not be read, on stderr: it never breaks an answer, and only --log-level hides it. */
export function warnOfSkipped(context: CliContext, { logLevel }: ReadFlags, skipped: readonly SkippedKey[]): void {
  if (!isLogged(logLevel, 'warn')) return;
  for (const { key, reason } of skipped.slice(0, MAX_WARNINGS)) {
    context.stderr(printable(`warning: skipped ${key}: ${reason}`).slice(0, MAX_LINE));
  }
  const more = skipped.length - MAX_WARNINGS;
  if (more > 0) context.stderr(`warning: skipped ${more} more keys that are no readable records`);
}
