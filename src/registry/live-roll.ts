import type { Clock } from '../lib/clock.ts';
import { entryChanges, type RollEvent } from '../record/events.ts';
import { presenceState, type Roll, type RollEntry } from '../record/roll.ts';
import type { Store, WatchBatch } from '../store/store.ts';
import type { EventLog } from './event-log.ts';
import type { GuardState } from './loss-guard.ts';
import { createGuardRunner } from './loss-guard-runner.ts';
import { isMassLoss, type MassLossLimits } from './mass-loss.ts';
import { createView, type View } from './roll-view.ts';
import { isConfirmation } from './watch-batches.ts';

export interface LiveRollOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly massLoss: MassLossLimits | null;
  readonly log: EventLog;
}

/**
 * The roll as the store has it, the part of it that readers of events were told, and the log of what they are told next.
 * All three move in one step, so that whoever looks between two steps finds that they agree.
 */
export interface LiveRoll {
  /** The next snapshot is the first of a new watch: nobody reads, and what it differs in is no news. */
  restart(): void;
  onSnapshot(roll: Roll): void;
  /** @returns false when the batch does not fit and a new snapshot is needed */
  onBatch(batch: WatchBatch): boolean;
  /** What the store holds now may differ. */
  onBroken(): void;
  /**
   * A reader who comes back knew these nodes as present. Where those of them that are lost pass the limits of a mass loss
   * they are held back from now on; else nothing happens.
   */
  holdBack(lastPresent: ReadonlyMap<string, RollEntry>): void;
  /**
   * Whether what is told to those who follow brings a reader up to date who comes back with this cursor. It may have been
   * told of a loss that was held back here: by another process, or by one that ended before the cursor was stored. Where
   * such a node returns as it was, those who follow are told nothing, and that reader would call it lost for good.
   */
  canResume(since: string): boolean;
  /** Everything up to `since`, and up to now as far as is known, has come in. */
  isCaughtUp(since: string): boolean;
  /** A snapshot came since `restart`: log and roll agree. */
  isBased(): boolean;
  /** null while no roll was ever read; the last known one outlives its watch. */
  view(): View | null;
  /** As the store has it. */
  roll(): Roll;
  /** The roll as readers were told it. */
  shown(): Roll;
  guard(): GuardState;
  /** Ends what is under way. */
  stop(): void;
}

/** A roll of that age is told from: little happens meanwhile, and a loss is told a little later at most. */
const FRESH_MS = 1_000;
/** The store is asked about so many at a time. */
const SAMPLE = 32;

export function createLiveRoll(options: LiveRollOptions): LiveRoll {
  const { store, clock, random, log } = options;
  let view: View | null = null;
  let based = false;
  // Not so while a watch that broke is catching up: until the store confirms, there may be more to come.
  let upToDate = false;
  let provenAtMs = 0;
  // At which a held node returned last.
  let returnedAt = 0n;
  let lastShown: { entries: readonly RollEntry[]; held: GuardState['held']; roll: Roll } | null = null;

  const guard = createGuardRunner({
    clock,
    limits: options.massLoss,
    look: (signal) => store.overdue(sample(), signal),
    isFresh: () => upToDate && clock.monotonicMs() - provenAtMs <= FRESH_MS,
    tell,
  });

  function requireView(): View {
    if (!view) throw new Error('the roll was never read');
    return view;
  }

  function tell(events: readonly RollEvent[]) {
    const revision = requireView().revision();
    const cursor = cursorAt(revision, guard.state().heldAfter);
    if (events.length > 0) log.append(revision, { events, cursor });
    else log.confirm(revision, cursor);
  }

  /** Present nodes, drawn evenly. */
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

  function proven() {
    provenAtMs = clock.monotonicMs();
    if (upToDate) guard.proven();
  }

  function shown(): Roll {
    const roll = requireView().roll();
    const { held } = guard.state();
    if (held.size === 0) return roll;
    // Many readers may ask at once: they share one.
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
      // Whoever comes back with a cursor from before it is told the past from the store, which has their returns.
      returnedAt = 0n;
      view = createView(roll);
      upToDate = true;
      based = true;
      log.restart(revision);
      if (changes) guard.feed({ kind: 'snapshot', revision, changes, present: view.count().present });
      proven();
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
        tell([]);
      }
      proven();
      return true;
    },
    onBroken() {
      upToDate = false;
      guard.pause(provenAtMs);
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

/** Whoever was told everything up to `revision`, but for what is held back, may resume after this; null: after nothing. */
function cursorAt(revision: string, heldAfter: string | null): string | null {
  if (heldAfter === null || BigInt(revision) <= BigInt(heldAfter)) return revision;
  // Held since a snapshot: nobody knows at which revision it happened.
  return heldAfter === '0' ? null : heldAfter;
}
