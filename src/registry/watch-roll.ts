import { linkSignals } from '../lib/abort.ts';
import { Backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import type { Roll } from '../record/roll.ts';
import type { WatchBatch } from '../store/read-roll.ts';
import type { Store } from '../store/store.ts';
import { CompactedError, StoreError } from '../store/store-errors.ts';

/** Gets the roll: first a snapshot, then batches without a gap; after a compaction a new snapshot. */
export interface RollObserver {
  /** @param askedAtMs monotonic instant of the request: the roll is at least that recent */
  onSnapshot(roll: Roll, askedAtMs: number): void;
  /** @returns false when the batch does not fit the observer's roll: a new snapshot follows */
  onBatch(batch: WatchBatch): boolean;
  /** Snapshot or watch failed; a retry follows. */
  onBroken(error: unknown): void;
}

interface RollSource {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
}

const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 5_000;
/** Longer than readers wait: a slow store's snapshot is still worth having for the next reader. */
const SNAPSHOT_TIMEOUT_MS = 15_000;
/** A watch without a batch for this long is started again. More than the 10 s at which a store confirms. */
const WATCH_SILENCE_MS = 30_000;

/** Follows the roll until `signal` aborts, through every failure of the store: resolves then, and never rejects. */
export async function followRoll(source: RollSource, observer: RollObserver, signal: AbortSignal): Promise<void> {
  const { store, clock, random } = source;
  let backoff = new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS);
  // The last revision that the observer has completely; null: it needs a snapshot.
  let revision: string | null = null;
  while (!signal.aborted) {
    try {
      revision ??= await readSnapshot(source, observer, signal);
      for await (const batch of watchBatches(store, clock, revision, WATCH_SILENCE_MS, signal)) {
        signal.throwIfAborted();
        const fits = BigInt(batch.revision) >= BigInt(revision) && observer.onBatch(batch);
        // Also if the store was restored from a backup, which sets its revisions back.
        if (!fits)
          throw new CompactedError(`watch the roll at ${store.label}: revision ${batch.revision} does not fit`);
        revision = batch.revision;
        backoff = backoff.reset();
      }
      throw new StoreError(`watch the roll at ${store.label}: the watch ended`, { retryable: true });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof CompactedError) revision = null;
      observer.onBroken(error);
    }
    await clock.sleep(backoff.delayMs(random()), signal).catch(() => {}); // aborted: the loop's condition ends it
    backoff = backoff.next();
  }
}

async function readSnapshot({ store, clock }: RollSource, observer: RollObserver, signal: AbortSignal) {
  const askedAtMs = clock.monotonicMs();
  const roll = await withDeadline(clock, SNAPSHOT_TIMEOUT_MS, signal, `read the roll from ${store.label}`, (within) =>
    store.read(within),
  );
  signal.throwIfAborted();
  observer.onSnapshot(roll, askedAtMs);
  return roll.revision;
}

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
