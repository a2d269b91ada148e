import { abortable, onAbort } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { describeError, RollcallError } from '../lib/errors.ts';
import type { Uncertainty } from '../record/events.ts';
import type { PresenceState, Roll } from '../record/roll.ts';
import { StoreError } from '../store/errors.ts';
import type { Store } from '../store/store.ts';
import { createEventLog } from './event-log.ts';
import { readEvents } from './event-reader.ts';
import { type EventSource, FutureRevisionError } from './event-source.ts';
import { createFollower } from './follower.ts';
import { createLiveRoll } from './live-roll.ts';
import { DEFAULT_MASS_LOSS, type MassLossLimits } from './mass-loss.ts';
import { createCatchUp } from './replay.ts';
import { createSnapshots } from './snapshots.ts';

export interface RegistryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  /** The watch is dropped when nobody has read for this long; default 3 min, three times as long as Prometheus waits. */
  readonly idleMs?: number;
  /** How long the first readers wait for the snapshot before they get the last known roll; default 3 s. */
  readonly readTimeoutMs?: number;
  /** A roll whose last proof is older is stale; default 15 s, half as long again as a store takes to confirm. */
  readonly staleAfterMs?: number;
  /** From which losses on it is uncertain that the nodes are gone; null: never. Default: 30 % and at least 5 nodes. */
  readonly massLoss?: MassLossLimits | null;
  /** Whenever what follows the store moves: at its start, with each snapshot, batch and failure; at least every 35 s. */
  readonly onStep?: () => void;
}

export interface RegistryRead {
  readonly roll: Roll;
  /** Since the last proof that the roll was up to date: a snapshot or any batch. */
  readonly ageMs: number;
  /** The watch is down, or the last proof is too old: this is what was last known. */
  readonly stale: boolean;
  /** So many nodes vanished at once that the store or the network may be what failed; null: nothing of that kind. */
  readonly uncertainty: Uncertainty | null;
  /** Nodes that are lost in `roll`, and not told as lost: they may be back in a moment. */
  readonly held: ReadonlySet<string>;
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
  /** As in `RegistryRead`. */
  readonly uncertainty: Uncertainty | null;
  readonly heldLosses: number;
  readonly eventReaders: number;
  /** Readers of events cut off since the start of the process. */
  readonly slowReaders: number;
  /** Times the store was asked for the past since the start of the process. */
  readonly catchUps: number;
}

/** The read side of one process: all readers share one watch, and an agent nobody asks costs the store nothing. */
export interface Registry extends EventSource {
  /** Rejects with a `StoreError` when no roll was ever known and the store does not answer, or by `signal`'s reason. */
  read(signal: AbortSignal): Promise<RegistryRead>;
  /** As `Store.id`, asked once. */
  storeId(signal: AbortSignal): Promise<string>;
  /** Never starts the watch. */
  status(): RegistryStatus;
  close(): Promise<void>;
}

/** Any id does for asking at which revision the store is. */
const SOME_ID = 'i-00000000';

export function createRegistry(options: RegistryOptions): Registry {
  const { store, clock, random, idleMs = 180_000, readTimeoutMs = 3_000, staleAfterMs = 15_000 } = options;
  const { massLoss = DEFAULT_MASS_LOSS, onStep = () => {} } = options;
  let eventReaders = 0;
  const life = new AbortController();
  let identity: Promise<string> | null = null;
  const log = createEventLog();
  const live = createLiveRoll({ store, clock, random, massLoss, log });
  const catchUp = createCatchUp({
    store,
    clock,
    log,
    roll: live.roll,
    massLoss,
    holdBack: live.holdBack,
  });
  const { canResume, isCaughtUp } = live;
  const parts = { log, catchUp, snapshot: createSnapshots(live, log), canResume, isCaughtUp };
  const follower = createFollower({
    store,
    clock,
    random,
    live,
    idleMs,
    readTimeoutMs,
    // What is held back is still to be told or taken back: it is not forgotten because nobody asks for a while.
    isInUse: () => eventReaders > 0 || live.guard().held.size > 0,
    onStartOver() {
      identity = null;
    },
    onStep,
  });

  function notKnown(): StoreError {
    return new StoreError('the roll is not known', { retryable: true, cause: follower.lastError() });
  }

  /** One question for all: a thousand readers come back together. After a failure the next to come asks again. */
  function identify(): Promise<string> {
    const asked = store.id(life.signal);
    identity = asked;
    asked.catch(() => {
      if (identity === asked) identity = null;
    });
    return asked;
  }

  /** Another process of ours may be ahead of this one; only the store knows whether a revision was reached. */
  async function requireReached(since: string, signal: AbortSignal): Promise<void> {
    if (BigInt(since) <= BigInt(live.view()?.revision() ?? 0)) return;
    const action = `ask ${store.label} for its revision`;
    const { revision } = await withDeadline(clock, readTimeoutMs, signal, action, (within) =>
      store.readOne(SOME_ID, within),
    );
    if (BigInt(since) > BigInt(revision)) throw new FutureRevisionError(since, revision);
  }

  /** One more reader of events, for whom the watch goes on. @returns the way to take that back */
  function joinReaders(signal: AbortSignal): () => void {
    let joined = true;
    const leave = () => {
      if (!joined) return;
      joined = false;
      eventReaders -= 1;
      follower.touch();
    };
    eventReaders += 1;
    const aborting = onAbort(signal, leave);
    return () => {
      aborting[Symbol.dispose]();
      leave();
    };
  }

  return {
    async read(signal) {
      await follower.need(follower.isLive, signal);
      const view = live.view();
      if (!view) throw notKnown();
      const ageMs = follower.ageMs();
      const { uncertainty, held } = live.guard();
      const stale = !follower.isLive() || ageMs > staleAfterMs;
      return { roll: view.roll(), ageMs, stale, uncertainty, held: new Set(held.keys()) };
    },

    async events({ since, signal }) {
      signal.throwIfAborted();
      const leave = joinReaders(signal);
      try {
        await follower.need(live.isBased, signal);
        if (!live.isBased()) throw notKnown();
        if (since !== null) await requireReached(since, signal);
      } catch (error) {
        leave();
        throw error;
      }
      return readEvents(parts, since, signal, leave);
    },

    storeId: (signal) => abortable(identity ?? identify(), signal),

    status() {
      const view = live.view();
      const { uncertainty, held } = live.guard();
      const lastError = follower.lastError();
      return {
        watching: follower.isWatching(),
        ageMs: view === null ? null : follower.ageMs(),
        nodes: view?.count() ?? null,
        lastError: lastError === null ? null : describeError(lastError),
        ...follower.counts(),
        uncertainty,
        heldLosses: held.size,
        eventReaders,
        slowReaders: log.slowReaders(),
        catchUps: catchUp.count(),
      };
    },

    async close() {
      life.abort(new RollcallError('read the roll: this process is stopping'));
      log.close();
      await follower.close();
    },
  };
}
