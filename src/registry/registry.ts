import { abortable } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { describeError, RollcallError } from '../lib/errors.ts';
import type { Uncertainty } from '../record/events.ts';
import type { PresenceState, Roll } from '../record/roll.ts';
import type { Store } from '../store/store.ts';
import { StoreError } from '../store/store-errors.ts';
import { createCatchUp } from './catch-up.ts';
import { createEventLog, type LogContent } from './event-log.ts';
import { iterate, openReader } from './event-reader.ts';
import { type EventReader, type EventSource, type EventsOptions, FutureRevisionError } from './event-source.ts';
import { createFollower, type WatchDown } from './follower.ts';
import { createLiveRoll } from './live-roll.ts';
import { DEFAULT_MASS_LOSS, type MassLossLimits } from './mass-loss.ts';
import { createSnapshots } from './snapshots.ts';

export interface RegistryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  /** The watch ends when nothing was read for this long; default 3 min, three scrape intervals of Prometheus. */
  readonly idleMs?: number;
  /** How long the first readers wait for the snapshot before they get the last known roll; default 3 s. */
  readonly readTimeoutMs?: number;
  /** What counts as a mass loss; null: nothing does. Default: more than 30 % and at least 5 nodes. */
  readonly massLoss?: MassLossLimits | null;
  /** Called while the watch runs: at its start, at each snapshot, batch and failure; at least every 35 s. */
  readonly onStep?: () => void;
  /** The watch has been down for longer than 15 s, or, with null, is up again; each once. */
  readonly onWatch?: (down: WatchDown | null) => void;
}

export interface RegistryRead {
  readonly roll: Roll;
  /** The store had nothing newer this long ago. */
  readonly ageMs: number;
  /** The watch is down or the last confirmation is too old: this is the last known roll. */
  readonly stale: boolean;
  /** A mass loss: the store or the network may be what failed; null: none. */
  readonly uncertainty: Uncertainty | null;
  /** Nodes that are lost in `roll`, in a mass loss or a moment ago: they may return. */
  readonly uncertainLosses: ReadonlySet<string>;
  /** What counts as a mass loss; null: nothing does. */
  readonly massLoss: MassLossLimits | null;
}

export interface RegistryStatus {
  /** The roll is watched for readers. */
  readonly watching: boolean;
  /** For how long the watch has been down, longer than 15 s; null while it is up, or without readers. */
  readonly watchDownMs: number | null;
  /** null while no roll was ever read. */
  readonly ageMs: number | null;
  /** As in `RegistryRead`; without readers the watch ends, and the last known roll becomes stale. */
  readonly stale: boolean;
  readonly nodes: Readonly<Record<PresenceState, number>> | null;
  /** null while the store answers. */
  readonly lastError: string | null;
  /** Snapshots and restarts of the watch since the start of the process. */
  readonly snapshots: number;
  readonly watchRestarts: number;
  /** As in `RegistryRead`. */
  readonly uncertainty: Uncertainty | null;
  /** Mass losses since the start of the process. */
  readonly massLosses: number;
  /** How many nodes are lost, in a mass loss or a moment ago, and may return. */
  readonly uncertainLosses: number;
  readonly eventReaders: number;
  /** Readers of events cut off since the start of the process. */
  readonly slowReaders: number;
  /** How often the store was asked for past changes since the start of the process. */
  readonly catchUps: number;
}

/** The newest events that this process has seen: the log that its readers of events share. */
export interface RegistryHistory extends LogContent, Pick<RegistryRead, 'ageMs' | 'stale'> {
  /** The log has what happened up to this revision. */
  readonly revision: string;
}

/** The read side of one process: all readers share one watch, and an agent without readers costs the store nothing. */
export interface Registry extends EventSource {
  /** As `events`. */
  reader(options: EventsOptions): Promise<EventReader>;
  /** Rejects with `StoreError` when no roll was ever read and the store does not answer, or with `signal`'s reason. */
  read(signal: AbortSignal): Promise<RegistryRead>;
  /** Rejects as `read`. */
  history(signal: AbortSignal): Promise<RegistryHistory>;
  /** As `Store.id`, read once. */
  storeId(signal: AbortSignal): Promise<string>;
  /** Never starts the watch. */
  status(): RegistryStatus;
  close(): Promise<void>;
}

/** A roll that was last confirmed longer ago is stale: 1.5 times the interval of a store's confirmations. */
const STALE_AFTER_MS = 15_000;
export function createRegistry(options: RegistryOptions): Registry {
  const { store, clock, random, idleMs = 180_000, readTimeoutMs = 3_000 } = options;
  const { massLoss = DEFAULT_MASS_LOSS, onStep = () => {}, onWatch = () => {} } = options;
  const life = new AbortController();
  const storeId = createStoreId(store, life.signal);
  const log = createEventLog(clock);
  const live = createLiveRoll({ store, clock, random, massLoss, log });
  const catchUp = createCatchUp({ store, clock, log, live, massLoss, life: life.signal });
  const parts = { log, live, catchUp, snapshot: createSnapshots(live, log, clock) };
  const follower = createFollower({
    store,
    clock,
    random,
    live,
    idleMs,
    readTimeoutMs,
    // An idle time must not make uncertain losses certain.
    isInUse: () => log.followers() > 0 || live.openLosses().size > 0,
    onStartOver: storeId.forget,
    onStep,
    onWatch,
  });

  /** The store had nothing newer this long ago. */
  function ageMs(): number {
    return Math.max(0, Math.round(clock.monotonicMs() - follower.watch.confirmedAtMs));
  }

  function isStale(): boolean {
    return !follower.watch.isLive || ageMs() > STALE_AFTER_MS;
  }

  function notKnown(): StoreError {
    return new StoreError('the roll is not known', { retryable: true, cause: follower.watch.lastError });
  }

  async function reader({ since, signal }: EventsOptions): Promise<EventReader> {
    await follower.ensure(live.isBased, signal);
    if (!live.isBased()) throw notKnown();
    // Another process may be ahead of this one; only the store knows whether it has reached a revision.
    const isAhead = since !== null && BigInt(since) > BigInt(live.view()?.revision() ?? 0);
    if (isAhead) await requireReached(since, options, readTimeoutMs, signal);
    signal.throwIfAborted();
    return openReader(parts, since, signal, follower.touch);
  }

  return {
    async read(signal) {
      await follower.ensure(() => follower.watch.isLive, signal);
      const view = live.view();
      if (!view) throw notKnown();
      const uncertainty = live.uncertain()?.uncertainty ?? null;
      const uncertainLosses = new Set(live.openLosses().keys());
      return { roll: view.roll(), ageMs: ageMs(), stale: isStale(), uncertainty, uncertainLosses, massLoss };
    },

    async history(signal) {
      await follower.ensure(live.isBased, signal);
      if (!live.isBased()) throw notKnown();
      return { ...log.content(), revision: log.here().revision, ageMs: ageMs(), stale: isStale() };
    },

    reader,
    events: async (options) => iterate(await reader(options)),

    storeId: storeId.read,

    status() {
      const view = live.view();
      const { lastError, snapshots, restarts: watchRestarts } = follower.watch;
      return {
        watching: follower.isWatching(),
        watchDownMs: follower.down()?.downMs ?? null,
        ageMs: view === null ? null : ageMs(),
        stale: isStale(),
        nodes: view?.count() ?? null,
        lastError: lastError === null ? null : describeError(lastError),
        snapshots,
        watchRestarts,
        uncertainty: live.uncertain()?.uncertainty ?? null,
        massLosses: live.massLosses(),
        uncertainLosses: live.openLosses().size,
        eventReaders: log.followers(),
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

/** Reading any id answers with the store's revision. */
const SOME_ID = 'i-00000000';

async function requireReached(
  since: string,
  { store, clock }: RegistryOptions,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const action = `ask ${store.label} for its revision`;
  const { revision } = await withDeadline(clock, timeoutMs, signal, action, (within) => store.readOne(SOME_ID, within));
  if (BigInt(since) > BigInt(revision)) throw new FutureRevisionError(since, revision);
}

/** One request for all: a thousand readers may resume at the same time. After a failure the next reader asks again. */
function createStoreId(store: Store, life: AbortSignal) {
  let known: Promise<string> | null = null;

  function ask(): Promise<string> {
    const asked = store.id(life);
    known = asked;
    asked.catch(() => {
      if (known === asked) known = null;
    });
    return asked;
  }

  return {
    read: (signal: AbortSignal) => abortable(known ?? ask(), signal),
    forget() {
      known = null;
    },
  };
}
