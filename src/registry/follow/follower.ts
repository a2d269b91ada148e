import { RollcallError } from '../../errors.ts';
import type { Store } from '../../store/store.ts';
import { CompactedError } from '../../store/store-error.ts';
import type { Clock } from '../../timing/clock.ts';
import { DeadlineError, withDeadline } from '../../timing/with-deadline.ts';
import type { LiveRoll } from '../live-roll.ts';
import { followRoll } from './follow-roll.ts';
import { type Session, startSession } from './session.ts';

export interface FollowerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly live: LiveRoll;
  /** The watch is dropped when it was not needed for this long. */
  readonly idleMs: number;
  /** How long after the start of a watch its readers wait for the snapshot. */
  readonly readTimeoutMs: number;
  /** Somebody needs the watch right now, without asking again. */
  readonly isInUse: () => boolean;
  /** The roll is read anew because what was known no longer led there: it may be another store. */
  readonly onStartOver: () => void;
  readonly onStep: () => void;
}

/** Keeps the live roll up to date while anybody needs it, through every failure of the store. */
export interface Follower {
  /**
   * Starts the watch where there is none, and waits for its first snapshot or failure unless `isKnown` holds without it.
   * Rejects when the follower was closed, or by the reason of `signal`.
   */
  need(isKnown: () => boolean, signal: AbortSignal): Promise<void>;
  /** From now on the watch is idle, unless it is in use. */
  touch(): void;
  isWatching(): boolean;
  /** The watch is up, as far as is known. */
  isLive(): boolean;
  /** Since the last proof that the roll was up to date: a snapshot or any batch. */
  ageMs(): number;
  /** null while the store answers. */
  lastError(): unknown;
  /** Since the start of the process. */
  counts(): { readonly snapshots: number; readonly watchRestarts: number };
  close(): Promise<void>;
}

/** Longer than readers wait: a slow store's snapshot is still worth having for the next reader. */
const SNAPSHOT_TIMEOUT_MS = 15_000;
const WATCH_SILENCE_MS = 30_000;

export function createFollower(options: FollowerOptions): Follower {
  const { store, clock, random, live, idleMs, readTimeoutMs, isInUse, onStartOver, onStep } = options;
  let session: Session | null = null;
  let closed = false;
  let neededAtMs = 0;
  let provenAtMs = 0;
  let isLive = false;
  let lastError: unknown = null;
  let snapshots = 0;
  let watchRestarts = 0;

  const touch = () => {
    neededAtMs = clock.monotonicMs();
  };

  function proven(atMs: number) {
    provenAtMs = atMs;
    isLive = true;
    lastError = null;
    onStep();
  }

  function start(): Session {
    // What follows ran last when the watch before this one did.
    onStep();
    live.restart();
    return startSession({
      clock,
      follow,
      idleAtMs: () => (isInUse() ? clock.monotonicMs() : neededAtMs) + idleMs,
      onEnd() {
        session = null;
        isLive = false;
        live.stop();
      },
    });
  }

  function follow(signal: AbortSignal, firstOutcome: () => void): Promise<void> {
    return followRoll(
      { store, clock, random, signal, snapshotTimeoutMs: SNAPSHOT_TIMEOUT_MS, silenceMs: WATCH_SILENCE_MS },
      {
        onSnapshot(roll, askedAtMs) {
          live.onSnapshot(roll);
          snapshots += 1;
          proven(askedAtMs);
          firstOutcome();
        },
        onBatch(batch) {
          proven(clock.monotonicMs());
          return live.onBatch(batch);
        },
        onBroken(error) {
          live.onBroken();
          if (isLive) watchRestarts += 1;
          isLive = false;
          lastError = error;
          if (error instanceof CompactedError) onStartOver();
          onStep();
          firstOutcome();
        },
      },
    );
  }

  /** Waits for the first outcome, but no reader longer than `readTimeoutMs` after it was asked for. */
  async function awaitFirst({ startedAtMs, firstOutcome }: Session, signal: AbortSignal): Promise<void> {
    const restMs = startedAtMs + readTimeoutMs - clock.monotonicMs();
    if (restMs <= 0) return;
    const action = `read the roll from ${store.label}`;
    try {
      await withDeadline(clock, restMs, signal, action, () => firstOutcome);
    } catch (error) {
      if (!(error instanceof DeadlineError)) throw error;
      lastError ??= new DeadlineError(action, readTimeoutMs);
    }
  }

  return {
    async need(isKnown, signal) {
      signal.throwIfAborted();
      touch();
      if (!closed) session ??= start();
      if (session && !isKnown()) await awaitFirst(session, signal);
      if (closed) throw new RollcallError('read the roll: this process is stopping');
    },
    touch,
    isWatching: () => session !== null,
    isLive: () => isLive,
    ageMs: () => Math.max(0, Math.round(clock.monotonicMs() - provenAtMs)),
    lastError: () => lastError,
    counts: () => ({ snapshots, watchRestarts }),
    async close() {
      closed = true;
      await session?.end();
    },
  };
}
