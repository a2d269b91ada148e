import { isLogged, type LogLevel } from '../config/log-level.ts';
import { type StoreFlags, storeConfig } from '../config/store-options.ts';
import { printable } from '../printable.ts';
import type { SkippedKey } from '../record/roll.ts';
import { openStore } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';
import { withDeadline } from '../timing/with-deadline.ts';
import type { CliContext } from './cli-context.ts';

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
