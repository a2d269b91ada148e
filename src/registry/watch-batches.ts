import { linkSignals } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import type { Store, WatchBatch } from '../store/store.ts';

/**
 * Whether the store says that there is nothing newer, rather than that something happened which is no change of ours: a
 * confirmation repeats the revision of the batch before it.
 */
export function isConfirmation(batch: WatchBatch, lastRevision: string): boolean {
  return batch.changes.length === 0 && BigInt(batch.revision) === BigInt(lastRevision);
}

/**
 * `store.watch` that never goes silent: a healthy store confirms at least every 10 s, so a watch without a batch for
 * `silenceMs` is taken for broken, whatever its connection looks like. Leaving the loop ends the watch.
 * @throws DeadlineError after `silenceMs` without a batch, else what the store's watch throws
 */
export async function* watchBatches(
  store: Store,
  clock: Clock,
  revision: string,
  silenceMs: number,
  signal: AbortSignal,
): AsyncGenerator<WatchBatch, void, undefined> {
  using watch = linkSignals(signal);
  const iterator = store.watch(revision, watch.signal)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await withDeadline(clock, silenceMs, signal, `watch the roll at ${store.label}`, () =>
        iterator.next(),
      );
      if (next.done) return;
      yield next.value;
    }
  } finally {
    watch.abort();
    // Not awaited: a watch that ignores its signal must not hold up the next one. Its end is nobody's news any more.
    iterator.return?.().catch(() => {});
  }
}
