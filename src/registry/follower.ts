import { Backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { DeadlineError, withDeadline } from '../lib/deadline.ts';
import { deferred } from '../lib/deferred.ts';
import { RollcallError } from '../lib/errors.ts';
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

/** What is known of the watch. */
interface WatchState {
  /** It is up, as far as is known. */
  isLive: boolean;
  /** The store had nothing newer then: the last snapshot or confirmation was asked for. */
  confirmedAtMs: number;
  /** When it last brought anything, or was started. */
  upAtMs: number;
  /** null while the store answers. */
  lastError: unknown;
  /** Since the start of the process. */
  snapshots: number;
  restarts: number;
}

/** Keeps the live roll up to date while it is used, through every failure of the store. */
interface Follower {
  readonly watch: Readonly<WatchState>;
  /**
   * Starts the watch if none runs, and waits for its first snapshot unless `isEnough()` is true without it. The first failure
   * that may pass is not the end of it: while a new leader is elected each member of etcd may refuse once.
   * Rejects when the follower was closed, or with the reason of `signal`.
   */
  ensure(isEnough: () => boolean, signal: AbortSignal): Promise<void>;
  /** The idle time starts again now. */
  touch(): void;
  isWatching(): boolean;
  /** null while the watch is up, or while none runs. */
  down(): WatchDown | null;
  close(): Promise<void>;
}

/** One watch of the store, from the first reader until it is idle. */
interface Session {
  readonly controller: AbortController;
  readonly startedAtMs: number;
  /** Resolves when the first snapshot came, or failed for good or twice, or the session ended. */
  readonly firstOutcome: ReturnType<typeof deferred<void>>;
  /** Resolves when everything that runs has ended. */
  readonly ended: Promise<unknown>;
}

/** A watch of a healthy store is confirmed every 10 s. */
const WATCH_DOWN_MS = 15_000;
/** How soon it is noticed that a watch is up again. */
const DOWN_POLL_MS = 1_000;
const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 5_000;
/** Longer than readers wait: a slow store's snapshot is still worth having for the next reader. */
const SNAPSHOT_TIMEOUT_MS = 15_000;
/** A watch without a batch for this long is started again. More than the 10 s at which a store confirms. */
const WATCH_SILENCE_MS = 30_000;

export function createFollower(options: FollowerOptions): Follower {
  const { store, clock, live, idleMs, readTimeoutMs, isInUse, onStep, onWatch } = options;
  const watch: WatchState = {
    isLive: false,
    confirmedAtMs: 0,
    upAtMs: 0,
    lastError: null,
    snapshots: 0,
    restarts: 0,
  };
  let session: Session | null = null;
  let closed = false;
  let neededAtMs = 0;
  /** What `onWatch` was called with last. */
  let reported: WatchDown | null = null;

  const touch = () => {
    neededAtMs = clock.monotonicMs();
  };

  function start(): Session {
    // The steps stood still since the previous watch ended.
    onStep();
    const [controller, firstOutcome] = [new AbortController(), deferred<void>()];
    const startedAtMs = clock.monotonicMs();
    watch.upAtMs = startedAtMs;
    const following = followRoll(options, watch, () => firstOutcome.resolve(), controller.signal);
    const ended = Promise.all([following, attend(controller.signal)]);
    return { controller, startedAtMs, firstOutcome, ended };
  }

  function end() {
    session?.controller.abort();
    session?.firstOutcome.resolve();
    session = null;
    watch.isLive = false;
    live.stop();
    reportWatch();
  }

  function down(): WatchDown | null {
    const downMs = clock.monotonicMs() - watch.upAtMs;
    return session === null || downMs <= WATCH_DOWN_MS ? null : { downMs: Math.ceil(downMs), error: watch.lastError };
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
      const pollInMs = reportWatch() ? DOWN_POLL_MS : watch.upAtMs + WATCH_DOWN_MS + 1 - nowMs;
      await clock.sleep(Math.max(Math.min(idleInMs, pollInMs), 1), signal).catch(() => {}); // aborted: the loop ends
    }
  }

  return {
    watch,
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
          watch.lastError ??= new DeadlineError(action, readTimeoutMs);
        });
      }
      if (closed) throw new RollcallError('read the roll: this process is stopping');
    },
    touch,
    isWatching: () => session !== null,
    down,
    async close() {
      closed = true;
      const last = session?.ended;
      if (last) end();
      await last;
    },
  };
}

/**
 * Keeps the live roll up to date until `signal` aborts, through every failure of the store: resolves then, and never rejects.
 * First a snapshot, then batches without a gap; after a compaction a new snapshot.
 * @param onOutcome called at each snapshot, and at failures that readers hear of
 */
async function followRoll(
  { store, clock, random, live, onStep, onStartOver }: FollowerOptions,
  watch: WatchState,
  onOutcome: () => void,
  signal: AbortSignal,
): Promise<void> {
  let backoff = new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS);
  // The last revision that the live roll has completely; null: it needs a snapshot.
  let revision: string | null = null;
  let failures = 0;

  const misfit = (batch: WatchBatch) =>
    new CompactedError(`watch the roll at ${store.label}: revision ${batch.revision} does not fit`);
  const answered = () => {
    Object.assign(watch, { upAtMs: clock.monotonicMs(), isLive: true, lastError: null });
    onStep();
  };

  async function readSnapshot(): Promise<string> {
    const askedAtMs = clock.monotonicMs();
    const action = `read the roll from ${store.label}`;
    const roll = await withDeadline(clock, SNAPSHOT_TIMEOUT_MS, signal, action, (within) => store.read(within));
    signal.throwIfAborted();
    live.onSnapshot(roll, clock.monotonicMs() - askedAtMs);
    watch.snapshots += 1;
    watch.confirmedAtMs = askedAtMs;
    answered();
    onOutcome();
    return roll.revision;
  }

  while (!signal.aborted) {
    try {
      revision ??= await readSnapshot();
      for await (const batch of watchBatches(store, clock, revision, WATCH_SILENCE_MS, signal)) {
        signal.throwIfAborted();
        // Also if the store was restored from a backup, which sets its revisions back.
        if (BigInt(batch.revision) < BigInt(revision)) throw misfit(batch);
        const { confirmedMsAgo } = batch;
        if (confirmedMsAgo !== undefined) watch.confirmedAtMs = clock.monotonicMs() - confirmedMsAgo;
        answered();
        if (!live.onBatch(batch)) throw misfit(batch);
        revision = batch.revision;
        backoff = backoff.reset();
      }
      throw new StoreError(`watch the roll at ${store.label}: the watch ended`, { retryable: true });
    } catch (error) {
      if (signal.aborted) return;
      live.onBroken();
      if (watch.isLive) watch.restarts += 1;
      Object.assign(watch, { isLive: false, lastError: error });
      if (error instanceof CompactedError) {
        revision = null;
        onStartOver();
      }
      onStep();
      failures += 1;
      if (failures > 1 || !(error instanceof StoreError && error.retryable)) onOutcome();
    }
    await clock.sleep(backoff.delayMs(random()), signal).catch(() => {}); // aborted: the loop's condition ends it
    backoff = backoff.next();
  }
}
