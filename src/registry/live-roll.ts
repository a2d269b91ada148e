import type { Clock } from '../lib/clock.ts';
import { entryChanges, type RollEvent } from '../record/events.ts';
import { presenceState, type Roll, type RollEntry } from '../record/roll.ts';
import type { WatchBatch } from '../store/read-roll.ts';
import type { Store } from '../store/store.ts';
import type { EventLog } from './event-log.ts';
import type { GuardState } from './loss-guard.ts';
import { createGuardRunner } from './loss-guard-runner.ts';
import { isMassLoss, type MassLossLimits } from './mass-loss.ts';
import { createView, type View } from './roll-view.ts';
import { isConfirmation } from './watch-batches.ts';

interface LiveRollOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly massLoss: MassLossLimits | null;
  readonly log: EventLog;
}

/**
 * The store's roll, the roll that event readers have, and the log of the events that they get next. All three change in
 * one step, so that they always agree between two steps.
 */
export interface LiveRoll {
  /** The next snapshot is the first of a new watch: there are no readers, and its differences are no events. */
  restart(): void;
  onSnapshot(roll: Roll): void;
  /** @returns false when the batch does not fit and a new snapshot is needed */
  onBatch(batch: WatchBatch): boolean;
  /** The watch broke: the store's roll may differ from now on. */
  onBroken(): void;
  /**
   * A resuming reader has these nodes as present. If the lost ones among them are a mass loss, their losses are held back
   * from now on; otherwise nothing happens.
   */
  holdBack(lastPresent: ReadonlyMap<string, RollEntry>): void;
  /**
   * Whether the events in the log are enough for a reader that resumes after this cursor. Another process, or one that
   * ended before the cursor was stored, may have sent it a `lost` that is held back here. If that node returns unchanged,
   * the log has no event about it, and the reader would keep it as lost.
   */
  canResume(since: string): boolean;
  /** The watch has brought all changes up to `since`, and as far as is known up to now. */
  isCaughtUp(since: string): boolean;
  /** There was a snapshot since `restart`: log and roll agree. */
  isBased(): boolean;
  /** null: no roll was read yet. The last known roll stays after its watch ended. */
  view(): View | null;
  /** The store's roll. */
  roll(): Roll;
  /** The roll that event readers have: held nodes are present in it. */
  shown(): Roll;
  guard(): GuardState;
  /** Stops the loss guard. */
  stop(): void;
}

/** A roll confirmed within this time counts as current: little changes meanwhile, so a loss is sent a little later at most. */
const FRESH_MS = 1_000;
/** How many nodes one poll asks about. */
const SAMPLE = 32;

export function createLiveRoll(options: LiveRollOptions): LiveRoll {
  const { store, clock, random, log } = options;
  let view: View | null = null;
  let based = false;
  // False while a watch that broke is catching up: until the store confirms, more changes may come.
  let upToDate = false;
  let confirmedAtMs = 0;
  // The revision at which a held node returned last.
  let returnedAt = 0n;
  let lastShown: { entries: readonly RollEntry[]; held: GuardState['held']; roll: Roll } | null = null;

  const guard = createGuardRunner({
    clock,
    limits: options.massLoss,
    countOverdue: (signal) => store.overdue(sample(), signal),
    isFresh: () => upToDate && clock.monotonicMs() - confirmedAtMs <= FRESH_MS,
    emit,
  });

  function requireView(): View {
    if (!view) throw new Error('the roll was never read');
    return view;
  }

  function emit(events: readonly RollEvent[]) {
    const revision = requireView().revision();
    const cursor = cursorAt(revision, guard.state().heldAfter);
    if (events.length > 0) log.append(revision, { events, cursor });
    else log.confirm(revision, cursor);
  }

  /** A random sample of the present nodes. */
  function sample(): readonly string[] {
    const present = requireView()
      .roll()
      .entries.filter((entry) => presenceState(entry) === 'present')
      .map((entry) => entry.record.ec2InstanceId);
    for (let drawn = 0; drawn < Math.min(SAMPLE, present.length); drawn += 1) {
      const other = drawn + Math.floor(random() * (present.length - drawn));
      [present[drawn], present[other]] = [present[other] as string, present[drawn] as string];
    }
    return present.slice(0, SAMPLE);
  }

  function confirmFresh() {
    confirmedAtMs = clock.monotonicMs();
    if (upToDate) guard.resume();
  }

  function shown(): Roll {
    const roll = requireView().roll();
    const { held } = guard.state();
    if (held.size === 0) return roll;
    // Many readers may ask at the same time: they share one.
    if (lastShown?.entries !== roll.entries || lastShown.held !== held) {
      const entries = roll.entries.map((entry) => held.get(entry.record.ec2InstanceId) ?? entry);
      lastShown = { entries: roll.entries, held, roll: { ...roll, entries } };
    }
    return lastShown.roll;
  }

  return {
    restart() {
      guard.reset();
      based = false;
    },
    onSnapshot(roll) {
      const changes = based ? entryChanges(shown(), roll) : null;
      const { revision } = roll;
      // A reader that resumes from before this snapshot gets the past from the store, which has the returns.
      returnedAt = 0n;
      view = createView(roll);
      upToDate = true;
      based = true;
      log.restart(revision);
      if (changes) guard.feed({ kind: 'snapshot', revision, changes, present: view.count().present });
      confirmFresh();
    },
    onBatch(batch) {
      const confirmed = isConfirmation(batch, requireView().revision());
      const changes = requireView().apply(batch);
      if (changes === null) return false;
      const { revision } = batch;
      if (confirmed) upToDate = true;
      if (changes.length > 0) {
        const { held } = guard.state();
        if (changes.some(({ instanceId, after }) => after?.presence && held.has(instanceId))) {
          returnedAt = BigInt(revision);
        }
        guard.feed({ kind: 'changes', revision, changes, present: requireView().count().present });
      } else {
        emit([]);
      }
      confirmFresh();
      return true;
    },
    onBroken() {
      upToDate = false;
      guard.pause(confirmedAtMs);
    },
    holdBack(lastPresent) {
      const { massLoss } = options;
      const { present } = requireView().count();
      const { held } = guard.state();
      const changes = requireView()
        .roll()
        .entries.filter((entry) => presenceState(entry) === 'lost')
        .flatMap((after) => {
          const { ec2InstanceId: instanceId } = after.record;
          const before = held.get(instanceId) ?? lastPresent.get(instanceId);
          return before ? [{ instanceId, before, after }] : [];
        });
      if (!isMassLoss(changes.length, present, massLoss)) return;
      guard.feed({ kind: 'snapshot', revision: requireView().revision(), changes, present });
    },
    canResume: (since) => guard.state().held.size === 0 && BigInt(since) >= returnedAt,
    isCaughtUp: (since) => upToDate && BigInt(since) <= BigInt(requireView().revision()),
    isBased: () => based,
    view: () => view,
    roll: () => requireView().roll(),
    shown,
    guard: () => guard.state(),
    stop: () => guard.reset(),
  };
}

/** The revision to resume after for a reader that has everything up to `revision` but the held losses; null: none. */
function cursorAt(revision: string, heldAfter: string | null): string | null {
  if (heldAfter === null || BigInt(revision) <= BigInt(heldAfter)) return revision;
  // Held since a snapshot: the revision of the loss is unknown.
  return heldAfter === '0' ? null : heldAfter;
}
