import type { Store, WatchBatch } from '../../store/store.ts';
import { CompactedError, StoreError } from '../../store/store-error.ts';
import type { Clock } from '../../timing/clock.ts';
import { isConfirmation, watchBatches } from '../follow/watch-batches.ts';

/** Of several kB each at worst: some ten MB. A roll is cheaper to read than more of them. */
const MAX_CHANGES = 20_000;

/**
 * All changes after revision `since` up to `to`, by a watch that ends there. It also ends where the store confirms that
 * there are no more: `to` need not be a revision at which anything of ours changed.
 * @throws CompactedError, or a StoreError also for more than 20,000 changes, or the reason of `signal`
 */
export async function collectChanges(
  { store, clock, timeoutMs }: { readonly store: Store; readonly clock: Clock; readonly timeoutMs: number },
  since: string,
  to: string,
  signal: AbortSignal,
): Promise<readonly WatchBatch[]> {
  const batches: WatchBatch[] = [];
  let count = 0;
  let last = since;
  for await (const batch of watchBatches(store, clock, since, timeoutMs, signal)) {
    const revision = BigInt(batch.revision);
    if (revision < BigInt(last)) throw new CompactedError(`${store.label}: revision ${revision} came after ${last}`);
    if (isConfirmation(batch, last)) return batches;
    if (revision <= BigInt(to)) {
      batches.push(batch);
      count += batch.changes.length;
    }
    if (count > MAX_CHANGES) {
      throw new StoreError(`${store.label}: more than ${MAX_CHANGES} changes after revision ${since}`, {
        retryable: false,
      });
    }
    if (revision >= BigInt(to)) return batches;
    last = batch.revision;
  }
  throw new StoreError(`${store.label}: the watch ended`, { retryable: true });
}
