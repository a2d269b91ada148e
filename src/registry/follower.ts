import { Backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { DeadlineError, withDeadline } from '../lib/deadline.ts';
import { deferred } from '../lib/deferred.ts';
import { RollcallError } from '../lib/errors.ts';
import type { Roll } from '../record/roll.ts';
import type { WatchBatch } from '../store/read-roll.ts';
import type { Store } from '../store/store.ts';
import { CompactedError, StoreError } from '../store/store-errors.ts';
import type { LiveRoll } from './live-roll.ts';
import { watchBatches } from './watch-batches.ts';

interface FollowerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly live: LiveRoll;
  /** The watch ends when it was not used for this long. */
  readonly idleMs: number;
  /** How long readers wait for the snapshot, from the start of the watch. */
  readonly readTimeoutMs: number;
  /** Whether something uses the watch now, without calling `ensure` again. */
  readonly isInUse: () => boolean;
  /** The roll is read again because its changes are missing: it may be another store. */
  readonly onStartOver: () => void;
  readonly onStep: () => void;
  /** The watch has been without a confirmation for longer than `WATCH_DOWN_MS`, or, with null, has one again or is not needed any more. Once for each. */
  readonly onWatch: (down: WatchDown | null) => void;
}

export interface WatchDown {
  /** Since the last confirmation, or the start of the watch. */
  readonly downMs: number;
  /** null: the store does not answer, and nothing failed. */
  readonly error: unknown;
}

/** Keeps the live roll up to date while it is used, through every failure of the store. */
interface Follower {
  /**
   * Starts the watch if none runs, and waits for its first snapshot or failure unless `isEnough()` is true without it.
   * Rejects when the follower was closed, or with the reason of `signal`.
   */
  ensure(isEnough: () => boolean, signal: AbortSignal): Promise<void>;
  /** The idle time starts again now. */
  touch(): void;
  isWatching(): boolean;
  /** null while the watch is up, or while none runs. */
  down(): WatchDown | null;
  /** The watch is up, as far as is known. */
  isLive(): boolean;
  /** The store had nothing newer this long ago: since the last snapshot or confirmation was asked for. */
  ageMs(): number;
  /** null while the store answers. */
  lastError(): unknown;
  /** Since the start of the process. */
  counts(): { readonly snapshots: number; readonly watchRestarts: number };
  close(): Promise<void>;
}

/** One watch of the store, from the first reader until it is idle. */
interface Session {
  readonly controller: AbortController;
  readonly startedAtMs: number;
  /** Resolves when the first snapshot came or failed, or the session ended. */
  readonly firstOutcome: ReturnType<typeof deferred<void>>;
  /** Resolves when everything that runs has ended. */
  readonly ended: Promise<unknown>;
}

/** A watch of a healthy store is confirmed every 10 s. */
const WATCH_DOWN_MS = 15_000;
/** How soon it is noticed that a watch is up again. */
const DOWN_POLL_MS = 1_000;

export function createFollower(options: FollowerOptions): Follower {
  const { store, clock, live, idleMs, readTimeoutMs, isInUse, onStartOver, onStep, onWatch } = options;
  let session: Session | null = null;
  let closed = false;
  let neededAtMs = 0;
  let confirmedAtMs = 0;
  /** When the watch last brought anything, or was started. */
  let upAtMs = 0;
  let isLive = false;
  let lastError: unknown = null;
  /** What `onWatch` was called with last. */
  let reported: WatchDown | null = null;
  let snapshots = 0;
  let watchRestarts = 0;

  const touch = () => {
    neededAtMs = clock.monotonicMs();
  };

  function answered() {
    upAtMs = clock.monotonicMs();
    isLive = true;
    lastError = null;
    onStep();
  }

  function start(): Session {
    // The steps stood still since the previous watch ended.
    onStep();
    live.restart();
    const [controller, firstOutcome] = [new AbortController(), deferred<void>()];
    const startedAtMs = clock.monotonicMs();
    upAtMs = startedAtMs;
    const observer: RollObserver = {
      onSnapshot(roll, askedAtMs) {
        live.onSnapshot(roll);
        snapshots += 1;
        confirmedAtMs = askedAtMs;
        answered();
        firstOutcome.resolve();
      },
      onBatch(batch) {
        const { confirmedMsAgo } = batch;
        if (confirmedMsAgo !== undefined) confirmedAtMs = clock.monotonicMs() - confirmedMsAgo;
        answered();
        return live.onBatch(batch);
      },
      onBroken(error) {
        live.onBroken();
        if (isLive) watchRestarts += 1;
        isLive = false;
        lastError = error;
        if (error instanceof CompactedError) onStartOver();
        onStep();
        firstOutcome.resolve();
      },
    };
    const ended = Promise.all([followRoll(options, observer, controller.signal), attend(controller.signal)]);
    return { controller, startedAtMs, firstOutcome, ended };
  }

  function end() {
    session?.controller.abort();
    session?.firstOutcome.resolve();
    session = null;
    isLive = false;
    live.stop();
    reportWatch();
  }

  function down(): WatchDown | null {
    const downMs = clock.monotonicMs() - upAtMs;
    return session === null || downMs <= WATCH_DOWN_MS ? null : { downMs: Math.ceil(downMs), error: lastError };
  }

  /** @returns whether the watch is down */
  function reportWatch(): boolean {
    const now = down();
    if ((now === null) !== (reported === null)) onWatch(now);
    reported = now;
    return now !== null;
  }

  /** Ends the session when it is idle, and says when its watch is down: a silent one makes no step. */
  async function attend(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const nowMs = clock.monotonicMs();
      const idleInMs = (isInUse() ? nowMs : neededAtMs) + idleMs - nowMs;
      if (idleInMs <= 0) return end();
      const pollInMs = reportWatch() ? DOWN_POLL_MS : upAtMs + WATCH_DOWN_MS + 1 - nowMs;
      await clock.sleep(Math.max(Math.min(idleInMs, pollInMs), 1), signal).catch(() => {}); // aborted: the loop ends
    }
  }

  return {
    async ensure(isEnough, signal) {
      signal.throwIfAborted();
      touch();
      if (!closed) session ??= start();
      const restMs = session === null ? 0 : session.startedAtMs + readTimeoutMs - clock.monotonicMs();
      if (session && restMs > 0 && !isEnough()) {
        const { promise } = session.firstOutcome;
        const action = `read the roll from ${store.label}`;
        await withDeadline(clock, restMs, signal, action, () => promise).catch((error) => {
          if (!(error instanceof DeadlineError)) throw error;
          lastError ??= new DeadlineError(action, readTimeoutMs);
        });
      }
      if (closed) throw new RollcallError('read the roll: this process is stopping');
    },
    touch,
    isWatching: () => session !== null,
    down,
    isLive: () => isLive,
    ageMs: () => Math.max(0, Math.round(clock.monotonicMs() - confirmedAtMs)),
    lastError: () => lastError,
    counts: () => ({ snapshots, watchRestarts }),
    async close() {
      closed = true;
      const last = session?.ended;
      if (last) end();
      await last;
    },
  };
}

/** Gets the roll: first a snapshot, then batches without a gap; after a compaction a new snapshot. */
interface RollObserver {
  /** @param askedAtMs monotonic instant of the request: the roll is at least that recent */
  onSnapshot(roll: Roll, askedAtMs: number): void;
  /** @returns false when the batch does not fit the observer's roll: a new snapshot follows */
  onBatch(batch: WatchBatch): boolean;
  /** Snapshot or watch failed; a retry follows. */
  onBroken(error: unknown): void;
}

type RollSource = Pick<FollowerOptions, 'store' | 'clock' | 'random'>;

const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 5_000;
/** Longer than readers wait: a slow store's snapshot is still worth having for the next reader. */
const SNAPSHOT_TIMEOUT_MS = 15_000;
/** A watch without a batch for this long is started again. More than the 10 s at which a store confirms. */
const WATCH_SILENCE_MS = 30_000;

/** Follows the roll until `signal` aborts, through every failure of the store: resolves then, and never rejects. */
async function followRoll(source: RollSource, observer: RollObserver, signal: AbortSignal): Promise<void> {
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
