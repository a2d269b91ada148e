import type { Clock } from '../lib/clock.ts';
import { auditEvents, entryChanges, type UncertainEvent, type UncertainLoss } from '../record/events.ts';
import { presenceState, type Roll, type RollEntry } from '../record/roll.ts';
import type { WatchBatch } from '../store/read-roll.ts';
import type { Store } from '../store/store.ts';
import { type EventLog, estimateBytes, KEPT_BYTES } from './event-log.ts';
import type { PastLoss, Telling } from './loss-verdict.ts';
import { createVerdictRunner } from './loss-verdict-runner.ts';
import { isMassLoss, type MassLossLimits } from './mass-loss.ts';
import { createView, type View } from './roll-view.ts';
import { logBatches, undo, type Waiting } from './waiting-changes.ts';

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
  /** @param askedMsAgo the roll is at most that old */
  onSnapshot(roll: Roll, askedMsAgo: number): void;
  /** @returns false when the batch does not fit and a new snapshot is needed */
  onBatch(batch: WatchBatch): boolean;
  /** The watch broke: the store's roll may differ from now on. */
  onBroken(): void;
  /** The watch has had a snapshot: log and roll agree. */
  isBased(): boolean;
  /** null: no roll was read yet. The last known roll stays after its watch ended. */
  view(): View | null;
  /** The roll at the end of the log. */
  told(): Roll;
  /** The present uncertainty as an event at the end of the log; null: none. */
  uncertain(): UncertainEvent | null;
  /** Since the start of the process. */
  massLosses(): number;
  /** Lost nodes that may return: those of the uncertainty, and those whose loss waits for its verdict. */
  openLosses(): ReadonlyMap<string, UncertainLoss>;
  /**
   * A replay found these losses in a mass loss that is not over. Those that are not known to be a TTL old are uncertain from
   * now on; the fates of those whose nodes have returned are set. @returns whether it is uncertain now
   */
  takePast(losses: readonly PastLoss[]): boolean;
  /**
   * A reader knows the roll from before this process did, and what happened since cannot be read. Where so many nodes are
   * lost that it may have been a mass loss, those that are not known to be lost for a TTL are uncertain from now on.
   * @returns whether some are that were not before
   */
  takeLost(): boolean;
  /** The watch ended, without readers: what the next one's first snapshot changes is no event. */
  stop(): void;
}

const MAX_WAITING = 10_000;
/** How many nodes one poll asks about. */
const SAMPLE = 32;

export function createLiveRoll({ store, clock, random, massLoss, log }: LiveRollOptions): LiveRoll {
  let view: View | null = null;
  let isBased = false;
  /** When the last snapshot came, in the verdict's time: what changed before it is known to be as old. */
  let snapshotAtMs = 0;
  /** In order: what is in the view, and not in the log. */
  let waiting: Waiting[] = [];
  let waitingBytes = 0;

  const runner = createVerdictRunner({
    clock,
    limits: massLoss ?? { share: 1, count: Number.POSITIVE_INFINITY },
    countOverdue: (signal) => store.overdue(sample(requireView().roll(), random), signal),
    onTelling: tell,
  });

  function requireView(): View {
    if (!view) throw new Error('the roll was never read');
    return view;
  }

  function takeWaiting(): readonly Waiting[] {
    const taken = waiting;
    [waiting, waitingBytes] = [[], 0];
    return taken;
  }

  function take(item: Waiting) {
    const { revision, changes, isSnapshot } = item;
    waiting.push(item);
    for (const { before, after } of changes) waitingBytes += estimateBytes(before?.record, after?.record);
    const { present } = requireView().count();
    runner.feed({ kind: isSnapshot ? 'snapshot' : 'changes', revision, changes, present });
    // Too many, or more bytes than the log keeps.
    if (waiting.length > MAX_WAITING || waitingBytes > KEPT_BYTES) runner.feed({ kind: 'full' });
  }

  /** Moves what waits to the log. */
  function tell(telling: Telling) {
    const items = takeWaiting();
    const batches = logBatches(items, telling, requireView().revision());
    // The snapshot has the nodes and the uncertainty itself.
    if (items[0]?.isSnapshot) log.restart(items[0].revision);
    log.append(items[0]?.isSnapshot ? batches.slice(1) : batches);
  }

  function told(): Roll {
    const roll = requireView().roll();
    return waiting.length === 0 ? roll : undo(roll, waiting, log.here().revision);
  }

  /** Whether the node of a loss of the past has not returned since. */
  function isStillLost({ instanceId, revision }: PastLoss, now: ReadonlyMap<string, RollEntry>): boolean {
    const entry = now.get(instanceId);
    const open = runner.state().open.get(instanceId);
    // A loss that a snapshot brought, and so has no revision to resume after, may be this one.
    const isOther = open !== undefined && open.revision !== revision && open.after !== null;
    return entry !== undefined && presenceState(entry) === 'lost' && !isOther;
  }

  return {
    onSnapshot(roll, askedMsAgo) {
      const changes = isBased ? entryChanges(told(), roll) : null;
      view = createView(roll);
      takeWaiting();
      if (changes) {
        take({ revision: roll.revision, changes, audit: [], isSnapshot: true });
      } else {
        isBased = true;
        log.restart(roll.revision);
      }
      runner.heard(askedMsAgo);
      snapshotAtMs = runner.nowMs();
    },
    onBatch(batch) {
      if (requireView().isVague()) return false;
      const changes = requireView().apply(batch);
      if (changes === null) return false;
      const audit = auditEvents(batch.changes, batch.revision);
      take({ revision: batch.revision, changes, audit, isSnapshot: false });
      runner.heard(batch.confirmedMsAgo ?? null);
      return true;
    },
    onBroken: () => runner.pause(),
    takePast(losses) {
      const now = new Map(told().entries.map((entry) => [entry.record.ec2InstanceId, entry]));
      for (const loss of losses) if (!isStillLost(loss, now)) loss.fate.decided = 'returned';
      const lost = losses.filter(({ fate }) => fate.decided === null);
      const { present } = requireView().count();
      runner.feed({ kind: 'past', revision: requireView().revision(), losses: lost, present, seenAtMs: snapshotAtMs });
      return runner.state().phase.kind === 'uncertain';
    },
    takeLost() {
      const { entries, revision } = told();
      const lost = entries.filter((entry) => presenceState(entry) === 'lost');
      const { present } = requireView().count();
      if (!isMassLoss(lost.length, present, massLoss)) return false;
      const ttlSeconds = usualTtlSeconds(entries);
      const losses = lost.map((entry) => unknownLoss(entry, revision, ttlSeconds));
      const known = runner.state().open.size;
      runner.feed({ kind: 'past', revision: requireView().revision(), losses, present, seenAtMs: snapshotAtMs });
      return runner.state().open.size > known;
    },
    isBased: () => isBased,
    view: () => view,
    told,
    uncertain() {
      const { phase } = runner.state();
      if (phase.kind !== 'uncertain') return null;
      const { uncertainty, part } = phase;
      return { kind: 'uncertain', revision: log.here().revision, uncertainty, part };
    },
    massLosses: runner.massLosses,
    openLosses: () => runner.state().open,
    stop() {
      runner.reset();
      takeWaiting();
      isBased = false;
      // The next snapshot starts it over anyway; until then its events would only take memory.
      log.restart(log.here().revision);
    },
  };
}

/** The default of `--presence-ttl`. */
const DEFAULT_TTL_SECONDS = 30;

/** That of a fleet in which all have the same. The shortest, so that one node with a long one keeps no loss back for hours. */
function usualTtlSeconds(entries: readonly RollEntry[]): number {
  const all = entries.flatMap(({ presence }) => presence?.ttlSeconds ?? []);
  return Math.max(DEFAULT_TTL_SECONDS, all.length > 0 ? all.reduce((one, other) => Math.min(one, other)) : 0);
}

/** A loss of which only what is left of the node is known. Its record has the session that it was present with. */
function unknownLoss(entry: RollEntry, revision: string, ttlSeconds: number): PastLoss {
  const { ec2InstanceId: instanceId, sidecar, registeredAt } = entry.record;
  const presence = { session: sidecar.session, since: registeredAt, ttlSeconds };
  return { instanceId, before: { ...entry, presence }, revision, after: null, fate: { decided: null }, isPast: true };
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
