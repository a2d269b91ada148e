import type { Clock } from '../lib/clock.ts';
import { auditEvents, entryChanges, type UncertainEvent, type UncertainLoss } from '../record/events.ts';
import { presenceState, type Roll } from '../record/roll.ts';
import type { WatchBatch } from '../store/read-roll.ts';
import type { Store } from '../store/store.ts';
import { type EventLog, estimateBytes, KEPT_BYTES } from './event-log.ts';
import type { PastLoss } from './loss-verdict.ts';
import { createVerdictRunner } from './loss-verdict-runner.ts';
import type { MassLossLimits } from './mass-loss.ts';
import { createView, type View } from './roll-view.ts';
import { logBatches, type Telling, undo, type Waiting } from './waiting-changes.ts';

interface LiveRollOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  /** null: no loss is uncertain. */
  readonly massLoss: MassLossLimits | null;
  readonly log: EventLog;
}

/**
 * The store's roll, and the log of its changes. The log is behind the roll only while a loss waits for its verdict, half a
 * second at most.
 */
export interface LiveRoll {
  /** The next snapshot is the first of a new watch: there are no readers, and its differences are no events. */
  restart(): void;
  onSnapshot(roll: Roll): void;
  /** @returns false when the batch does not fit and a new snapshot is needed */
  onBatch(batch: WatchBatch): boolean;
  /** The watch broke: the store's roll may differ from now on. */
  onBroken(): void;
  /** There was a snapshot since `restart`: log and roll agree. */
  isBased(): boolean;
  /** null: no roll was read yet. The last known roll stays after its watch ended. */
  view(): View | null;
  /** The roll at the end of the log. */
  told(): Roll;
  /** The present uncertainty as an event at the end of the log; null: none. */
  uncertain(): UncertainEvent | null;
  /** Lost nodes that may return: those of the uncertainty, and those whose loss waits for its verdict. */
  openLosses(): ReadonlyMap<string, UncertainLoss>;
  /**
   * A replay found these losses in a mass loss. Those that are not known to be a TTL old become uncertain from now on.
   * @returns whether it is uncertain now
   */
  takePast(losses: readonly PastLoss[]): boolean;
  /** Stops the verdict. */
  stop(): void;
}

/** A roll confirmed within this time counts as current: little changes meanwhile, so a verdict is a little later at most. */
const FRESH_MS = 1_000;
/** Changes that wait for a verdict; more, or more bytes than the log keeps, end the waiting. */
const MAX_WAITING = 10_000;
/** How many nodes one poll asks about. */
const SAMPLE = 32;

export function createLiveRoll({ store, clock, random, massLoss, log }: LiveRollOptions): LiveRoll {
  let view: View | null = null;
  let based = false;
  /** When it was, in the verdict's time. */
  let basedAtMs = 0;
  // False while a watch that broke is catching up: until the store confirms, more changes may come.
  let upToDate = false;
  let confirmedAtMs = 0;
  /** In the view, and not in the log. */
  let waiting: Waiting[] = [];
  let waitingBytes = 0;

  const runner = createVerdictRunner({
    clock,
    limits: massLoss ?? { share: 1, count: Number.POSITIVE_INFINITY },
    countOverdue: (signal) => store.overdue(sample(requireView().roll(), random), signal),
    isFresh: () => upToDate && clock.monotonicMs() - confirmedAtMs <= FRESH_MS,
    onStep(step) {
      if (step.verdict !== null) tell(step);
    },
  });

  function requireView(): View {
    if (!view) throw new Error('the roll was never read');
    return view;
  }

  function take(item: Waiting) {
    const { revision, changes, isSnapshot } = item;
    waiting.push(item);
    for (const { before, after } of changes) waitingBytes += estimateBytes(before?.record, after?.record);
    const { present } = requireView().count();
    runner.feed({ kind: isSnapshot ? 'snapshot' : 'changes', revision, changes, present });
    if (waiting.length > MAX_WAITING || waitingBytes > KEPT_BYTES) runner.feed({ kind: 'full' });
  }

  function takeWaiting(): Waiting[] {
    const items = waiting;
    waiting = [];
    waitingBytes = 0;
    return items;
  }

  /** Moves what waits to the log. */
  function tell(telling: Telling) {
    const items = takeWaiting();
    const batches = logBatches(items, telling, requireView().revision());
    // The snapshot has the nodes and the uncertainty itself.
    if (items[0]?.isSnapshot) log.restart(items[0].revision);
    log.append(items[0]?.isSnapshot ? batches.slice(1) : batches);
  }

  function confirmFresh() {
    confirmedAtMs = clock.monotonicMs();
    if (upToDate) runner.resume();
  }

  function told(): Roll {
    const roll = requireView().roll();
    return waiting.length === 0 ? roll : undo(roll, waiting, log.here().revision);
  }

  return {
    restart() {
      runner.reset();
      based = false;
      takeWaiting();
    },
    onSnapshot(roll) {
      const changes = based ? entryChanges(told(), roll) : null;
      view = createView(roll);
      upToDate = true;
      takeWaiting();
      if (changes) {
        take({ revision: roll.revision, changes, audit: [], isSnapshot: true });
      } else {
        based = true;
        basedAtMs = runner.nowMs();
        log.restart(roll.revision);
      }
      confirmFresh();
    },
    onBatch(batch) {
      const changes = requireView().apply(batch);
      if (changes === null) return false;
      if (batch.confirmedMsAgo !== undefined) upToDate = true;
      const audit = auditEvents(batch.changes, batch.revision);
      take({ revision: batch.revision, changes, audit, isSnapshot: false });
      confirmFresh();
      return true;
    },
    onBroken() {
      upToDate = false;
      runner.pause(confirmedAtMs);
    },
    takePast(losses) {
      const now = new Map(told().entries.map((entry) => [entry.record.ec2InstanceId, entry]));
      const isStillLost = ({ instanceId, revision }: PastLoss) => {
        const entry = now.get(instanceId);
        const open = runner.state().open.get(instanceId);
        // A loss that a snapshot brought, and so has no revision to resume after, may be this one.
        const isOther = open !== undefined && open.revision !== revision && open.after !== null;
        return entry !== undefined && presenceState(entry) === 'lost' && !isOther;
      };
      const stillLost = losses.filter(isStillLost);
      const { present } = requireView().count();
      const revision = requireView().revision();
      runner.feed({ kind: 'past', revision, losses: stillLost, present, seenAtMs: basedAtMs });
      const { phase, open } = runner.state();
      for (const loss of losses) {
        if (!isStillLost(loss)) Object.assign(loss.fate ?? {}, { decided: 'returned' });
        else if (!open.has(loss.instanceId)) Object.assign(loss.fate ?? {}, { decided: 'lost' });
      }
      return phase.kind === 'uncertain';
    },
    isBased: () => based,
    view: () => view,
    told,
    uncertain() {
      const { phase } = runner.state();
      if (phase.kind !== 'uncertain') return null;
      const { uncertainty, part } = phase;
      return { kind: 'uncertain', revision: log.here().revision, uncertainty, part };
    },
    openLosses: () => runner.state().open,
    stop: () => runner.reset(),
  };
}

/** The ids of a random sample of the present nodes. */
function sample(roll: Roll, random: () => number): readonly string[] {
  const present = roll.entries
    .filter((entry) => presenceState(entry) === 'present')
    .map((entry) => entry.record.ec2InstanceId);
  for (let drawn = 0; drawn < Math.min(SAMPLE, present.length); drawn += 1) {
    const other = drawn + Math.floor(random() * (present.length - drawn));
    [present[drawn], present[other]] = [present[other] as string, present[drawn] as string];
  }
  return present.slice(0, SAMPLE);
}
