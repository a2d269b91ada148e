import type { Roll } from '../../record/roll.ts';
import type { Store, WatchBatch } from '../../store/store.ts';
import { CompactedError, StoreError } from '../../store/store-error.ts';
import { Backoff } from '../../timing/backoff.ts';
import type { Clock } from '../../timing/clock.ts';
import { withDeadline } from '../../timing/with-deadline.ts';
import { watchBatches } from './watch-batches.ts';

export interface FollowOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly signal: AbortSignal;
  /** Limit of one snapshot. */
  readonly snapshotTimeoutMs: number;
  /** A watch without a batch for this long is started again. More than the 10 s at which a store confirms. */
  readonly silenceMs: number;
}

/** What follows a roll: first a snapshot, then batches without a gap; after a compaction a new snapshot. */
export interface RollObserver {
  /** @param askedAtMs monotonic instant at which the snapshot was asked for: the roll is at least that new */
  onSnapshot(roll: Roll, askedAtMs: number): void;
  /** @returns false when the batch does not fit what the observer has: it then gets a new snapshot */
  onBatch(batch: WatchBatch): boolean;
  /** Snapshot or watch failed; the next try follows by itself. */
  onBroken(error: unknown): void;
}

const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 5_000;

/** Follows the roll until `signal` aborts, through every failure of the store: resolves then, and never rejects. */
export async function followRoll(options: FollowOptions, observer: RollObserver): Promise<void> {
  const { store, clock, random, signal } = options;
  let backoff = new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS);
  // The last revision the observer has whole; null: it needs a snapshot.
  let revision: string | null = null;
  while (!signal.aborted) {
    try {
      revision ??= await snapshot(options, observer);
      for await (const batch of watchBatches(store, clock, revision, options.silenceMs, signal)) {
        signal.throwIfAborted();
        const fits = BigInt(batch.revision) >= BigInt(revision) && observer.onBatch(batch);
        // Also where the store was restored from a backup and its revisions went back.
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

async function snapshot(options: FollowOptions, observer: RollObserver): Promise<string> {
  const { store, clock, signal, snapshotTimeoutMs } = options;
  const askedAtMs = clock.monotonicMs();
  const roll = await withDeadline(clock, snapshotTimeoutMs, signal, `read the roll from ${store.label}`, (within) =>
    store.read(within),
  );
  signal.throwIfAborted();
  observer.onSnapshot(roll, askedAtMs);
  return roll.revision;
}
