import { describeError, RollcallError } from '../errors.ts';
import type { PresenceState, Roll } from '../record/roll.ts';
import type { Store } from '../store/store.ts';
import { StoreError } from '../store/store-error.ts';
import type { Clock } from '../timing/clock.ts';
import { DeadlineError, withDeadline } from '../timing/with-deadline.ts';
import { followRoll } from './follow-roll.ts';
import { createView, type View } from './view.ts';

export interface RegistryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  /** The watch is dropped when nobody has read for this long; default 60 s. */
  readonly idleMs?: number;
  /** How long the first readers wait for the snapshot before they get the last known roll; default 3 s. */
  readonly readTimeoutMs?: number;
  /** A roll whose last proof is older is stale; default 15 s, half as long again as a store takes to confirm. */
  readonly staleAfterMs?: number;
}

export interface RegistryRead {
  readonly roll: Roll;
  /** Since the last proof that the roll was up to date: a snapshot or any batch. */
  readonly ageMs: number;
  /** The watch is down, or the last proof is too old: this is what was last known. */
  readonly stale: boolean;
}

export interface RegistryStatus {
  readonly watching: boolean;
  /** null while no roll was ever read. */
  readonly ageMs: number | null;
  readonly nodes: Readonly<Record<PresenceState, number>> | null;
  /** null while the store answers. */
  readonly lastError: string | null;
  /** Since the start of the process, as the next. */
  readonly snapshots: number;
  readonly watchRestarts: number;
}

/** The read side of one process: all readers share one watch, and an agent nobody asks costs the store nothing. */
export interface Registry {
  /** Rejects with a `StoreError` when no roll was ever known and the store does not answer, or by `signal`'s reason. */
  read(signal: AbortSignal): Promise<RegistryRead>;
  /** Never starts the watch. */
  status(): RegistryStatus;
  close(): Promise<void>;
}

/** Longer than `readTimeoutMs`: a slow store's snapshot is still worth having for the next reader. */
const SNAPSHOT_TIMEOUT_MS = 15_000;
const WATCH_SILENCE_MS = 30_000;

/** One span of being read, from the first reader until idle. */
interface Session {
  readonly controller: AbortController;
  readonly startedAtMs: number;
  /** Resolves when the first snapshot came, failed, or is not wanted any more. */
  readonly firstOutcome: PromiseWithResolvers<void>;
  ended: Promise<unknown>;
}

export function createRegistry(options: RegistryOptions): Registry {
  const { store, clock, random, idleMs = 60_000, readTimeoutMs = 3_000, staleAfterMs = 15_000 } = options;
  let session: Session | null = null;
  let closed = false;
  let lastReadAtMs = 0;
  // The last known roll outlives its session, so that a node can say in an outage what it knew.
  let view: View | null = null;
  let provenAtMs = 0;
  let live = false;
  let lastError: unknown = null;
  let snapshots = 0;
  let watchRestarts = 0;

  const ageMs = () => Math.max(0, Math.round(clock.monotonicMs() - provenAtMs));

  function proven(atMs: number) {
    provenAtMs = atMs;
    live = true;
    lastError = null;
  }

  function start(): Session {
    const controller = new AbortController();
    const firstOutcome = Promise.withResolvers<void>();
    const { signal } = controller;
    const opened: Session = { controller, startedAtMs: clock.monotonicMs(), firstOutcome, ended: Promise.resolve() };
    const following = followRoll(
      { store, clock, random, signal, snapshotTimeoutMs: SNAPSHOT_TIMEOUT_MS, silenceMs: WATCH_SILENCE_MS },
      {
        onSnapshot(roll, askedAtMs) {
          view = createView(roll);
          snapshots += 1;
          proven(askedAtMs);
          firstOutcome.resolve();
        },
        onBatch(batch) {
          proven(clock.monotonicMs());
          return view?.apply(batch) ?? false;
        },
        onBroken(error) {
          if (live) watchRestarts += 1;
          live = false;
          lastError = error;
          firstOutcome.resolve();
        },
      },
    );
    opened.ended = Promise.all([following, endWhenIdle(opened)]);
    return opened;
  }

  async function endWhenIdle(opened: Session): Promise<void> {
    const { signal } = opened.controller;
    for (let restMs = idleMs; restMs > 0 && !signal.aborted; restMs = lastReadAtMs + idleMs - clock.monotonicMs()) {
      await clock.sleep(restMs, signal).catch(() => {}); // ended already: the condition sees it
    }
    end(opened);
  }

  function end(opened: Session) {
    opened.controller.abort();
    opened.firstOutcome.resolve();
    if (session !== opened) return;
    session = null;
    live = false;
  }

  /** Waits for the first snapshot of the session, but no reader longer than `readTimeoutMs` after it was asked for. */
  async function awaitFirst(opened: Session, signal: AbortSignal): Promise<void> {
    const restMs = opened.startedAtMs + readTimeoutMs - clock.monotonicMs();
    if (restMs <= 0) return;
    const action = `read the roll from ${store.label}`;
    try {
      await withDeadline(clock, restMs, signal, action, () => opened.firstOutcome.promise);
    } catch (error) {
      if (!(error instanceof DeadlineError)) throw error;
      lastError ??= new DeadlineError(action, readTimeoutMs);
    }
  }

  return {
    async read(signal) {
      signal.throwIfAborted();
      lastReadAtMs = clock.monotonicMs();
      if (!closed) session ??= start();
      if (session && !live) await awaitFirst(session, signal);
      if (closed) throw new RollcallError('read the roll: this process is stopping');
      if (!view) throw new StoreError('the roll is not known', { retryable: true, cause: lastError });
      const age = ageMs();
      return { roll: view.roll(), ageMs: age, stale: !live || age > staleAfterMs };
    },

    status() {
      return {
        watching: session !== null,
        ageMs: view === null ? null : ageMs(),
        nodes: view?.count() ?? null,
        lastError: lastError === null ? null : describeError(lastError),
        snapshots,
        watchRestarts,
      };
    },

    async close() {
      closed = true;
      const last = session;
      if (!last) return;
      end(last);
      await last.ended;
    },
  };
}
