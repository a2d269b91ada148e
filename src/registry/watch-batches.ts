import { linkSignals } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import type { WatchBatch } from '../store/read-roll.ts';
import type { Store } from '../store/store.ts';

/**
 * `store.watch` with a limit for silence: a healthy store confirms at least every 10 s, so a watch without a batch for
 * `silenceMs` is broken, even if its connection looks alive. Leaving the loop ends the watch.
 * @throws DeadlineError after `silenceMs` without a batch, otherwise what the store's watch throws
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
    // Not awaited: a watch that ignores its signal must not delay the next one, and its failure no longer matters.
    iterator.return?.().catch(() => {});
  }
}
