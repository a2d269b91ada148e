import { type StoreFlags, storeConfig } from '../config/store-options.ts';
import type { SkippedKey } from '../record/roll.ts';
import { openStore } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';
import { withDeadline } from '../timing/with-deadline.ts';
import type { CliContext } from './cli-context.ts';

/** Of a whole reading command. A roll of 10,000 nodes takes well under a second. */
const READ_DEADLINE_MS = 30_000;
/** More warnings than that push the answer off the screen. */
const MAX_WARNINGS = 5;

/** Opens the store of a command that only reads, never creating one; reads; closes it. */
export async function readFromStore<T>(
  context: CliContext,
  flags: StoreFlags,
  action: string,
  read: (store: Store, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { clock, random } = context;
  const store = await openStore(storeConfig(flags), { clock, random, create: false });
  try {
    return await withDeadline(clock, READ_DEADLINE_MS, context.signal, action, (signal) => read(store, signal));
  } finally {
    await store.close();
  }
}

/** Names what could not be read, on stderr: it never breaks an answer, and it is never kept quiet. */
export function warnOfSkipped(context: CliContext, skipped: readonly SkippedKey[]): void {
  for (const { key, reason } of skipped.slice(0, MAX_WARNINGS)) context.stderr(`warning: skipped ${key}: ${reason}`);
  const more = skipped.length - MAX_WARNINGS;
  if (more > 0) context.stderr(`warning: skipped ${more} more keys that are no readable records`);
}
