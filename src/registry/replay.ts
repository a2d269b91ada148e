import { abortable } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { deferred } from '../lib/deferred.ts';
import { diffEntry } from '../record/events.ts';
import type { NodeRecord, Presence } from '../record/record.ts';
import { presenceState, type Roll, type RollEntry } from '../record/roll.ts';
import type { WatchBatch } from '../store/read-roll.ts';
import type { Store } from '../store/store.ts';
import { CompactedError, StoreError } from '../store/store-errors.ts';
import type { EventLog, LogPosition } from './event-log.ts';
import type { EventBatch } from './event-source.ts';
import { isMassLoss, type MassLossLimits } from './mass-loss.ts';
import { createView } from './roll-view.ts';
import type { Beginning } from './snapshots.ts';
import { isConfirmation, watchBatches } from './watch-batches.ts';

/** With several kB each at worst, some ten MB. Reading the roll is cheaper than reading more changes. */
const MAX_CHANGES = 20_000;

/**
 * All changes after revision `since` up to `to`, by a watch that ends there. It also ends when the store confirms that
 * there are no more: `to` may be a revision without a change of ours.
 * @throws CompactedError, StoreError (also for more than 20,000 changes), or the reason of `signal`
 */
async function collectChanges(
  { store, clock, timeoutMs }: { readonly store: Store; readonly clock: Clock; readonly timeoutMs: number },
  since: string,
  to: string,
  signal: AbortSignal,
): Promise<readonly WatchBatch[]> {
  const batches: WatchBatch[] = [];
  let count = 0;
  let last = since;
  for await (const batch of watchBatches(store, clock, since, timeoutMs, signal)) {
    const revision = BigInt(batch.revision);
    if (revision < BigInt(last)) throw new CompactedError(`${store.label}: revision ${revision} came after ${last}`);
    if (isConfirmation(batch, last)) return batches;
    if (revision <= BigInt(to)) {
      batches.push(batch);
      count += batch.changes.length;
    }
    if (count > MAX_CHANGES) {
      throw new StoreError(`${store.label}: more than ${MAX_CHANGES} changes after revision ${since}`, {
        retryable: false,
      });
    }
    if (revision >= BigInt(to)) return batches;
    last = batch.revision;
  }
  throw new StoreError(`${store.label}: the watch ended`, { retryable: true });
}

/**
 * The roll before `batches`: undoes them, since each change has the value that it replaced.
 * @param revision the one before the first batch @param batches all that led to `roll`, in order
 */
export function undoChanges(roll: Roll, batches: readonly WatchBatch[], revision: string): Roll {
  const nodes = new Map<string, { record: NodeRecord | null; presence: Presence | null }>(
    roll.entries.map((entry) => [entry.record.ec2InstanceId, entry]),
  );
  for (const { changes } of batches.toReversed()) {
    for (const change of changes) {
      if (change.kind !== 'record' && change.kind !== 'presence') continue;
      const node = nodes.get(change.instanceId) ?? { record: null, presence: null };
      nodes.set(change.instanceId, { ...node, [change.kind]: change.previous });
    }
  }
  const entries = [...nodes.values()].filter((node): node is RollEntry => node.record !== null);
  entries.sort((a, b) => (a.record.ec2InstanceId < b.record.ec2InstanceId ? -1 : 1));
  return { revision, entries, skipped: [] };
}

interface PastLosses {
  /** Nodes that were present at `since` or later, each with its last present entry. */
  readonly lastPresent: ReadonlyMap<string, RollEntry>;
  /** There was a mass loss: readers at the time got `uncertain`, and perhaps no `lost`. */
  readonly massLoss: boolean;
}

/**
 * @param batches all that led from revision `since` to `roll`, in order
 * @param limits null: losses are never held back
 */
export function pastLosses(
  roll: Roll,
  batches: readonly WatchBatch[],
  since: string,
  limits: MassLossLimits | null,
): PastLosses {
  const past = undoChanges(roll, batches, since);
  const view = createView(past);
  const lastPresent = new Map<string, RollEntry>();
  /** Nodes that were present in this past and are lost. */
  const gone = new Set<string>();
  let massLoss = false;
  const remember = (entry: RollEntry) => {
    if (presenceState(entry) === 'present') lastPresent.set(entry.record.ec2InstanceId, entry);
  };
  past.entries.forEach(remember);
  for (const batch of batches) {
    for (const { instanceId, after } of view.apply(batch) ?? []) {
      if (after) remember(after);
      if (after && lastPresent.has(instanceId) && presenceState(after) === 'lost') gone.add(instanceId);
      else gone.delete(instanceId);
    }
    massLoss ||= isMassLoss(gone.size, view.count().present, limits);
  }
  return { lastPresent, massLoss };
}

interface PastBatch extends EventBatch {
  readonly revision: string;
}

/**
 * The events of `batches`, nothing held back: after them a reader has each node as it is in `roll`, whichever of these
 * events it had before.
 * @param batches all after revision `since` that led to `roll` @returns one batch for each that has events
 */
export function replayChanges(roll: Roll, batches: readonly WatchBatch[], since: string): readonly PastBatch[] {
  const view = createView(undoChanges(roll, batches, since));
  return batches.flatMap((batch) => {
    const { revision } = batch;
    const events = (view.apply(batch) ?? []).flatMap(({ instanceId, before, after }) =>
      diffEntry(instanceId, before, after, revision),
    );
    return events.length > 0 ? [{ events, revision, cursor: revision }] : [];
  });
}

/** Runs at most `count` pieces of work at the same time; the others wait in order, or until their signal aborts. */
export function createSlots(count: number) {
  let free = count;
  const waiting = new Set<() => void>();

  async function enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (free > 0) {
      free -= 1;
      return;
    }
    const { promise, resolve } = deferred<void>();
    waiting.add(resolve);
    try {
      await abortable(promise, signal);
    } catch (error) {
      // The slot was handed to this waiter just before the abort: pass it on.
      if (!waiting.delete(resolve)) leave();
      throw error;
    }
  }

  /** Hands the slot to the first waiter, so that a newcomer cannot take it first. */
  function leave() {
    const [next] = waiting;
    if (next === undefined) {
      free += 1;
      return;
    }
    waiting.delete(next);
    next();
  }

  return async <T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> => {
    await enter(signal);
    try {
      return await work();
    } finally {
      leave();
    }
  };
}

interface CatchUpOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: EventLog;
  /** The store's roll, to which the log's next batch applies. */
  readonly roll: () => Roll;
  /** null: losses are never held back. */
  readonly massLoss: MassLossLimits | null;
  /** As in `LiveRoll`. */
  readonly holdBack: (lastPresent: ReadonlyMap<string, RollEntry>) => void;
}

export interface CatchUp {
  /**
   * The events after `since`, which the log no longer has, and a reader of the log from there on. null: the store no
   * longer has the changes, or they are too many or take too long, so a snapshot is cheaper. Also null after a mass loss: a
   * snapshot shows which nodes are present without a `lost` event for nodes that returned or may return.
   * Rejects only with the reason of `signal`.
   */
  resume(since: string, signal: AbortSignal): Promise<Beginning | null>;
  /** How often the store was asked. */
  count(): number;
}

const CATCH_UP_TIMEOUT_MS = 10_000;
const MAX_AT_ONCE = 2;

/** The latest replay. Readers that resume at the same time, as after a restart of their agent, share it. */
interface Past {
  readonly since: string;
  readonly batches: readonly PastBatch[];
  readonly position: LogPosition;
}

export function createCatchUp({ store, clock, log, roll, massLoss, holdBack }: CatchUpOptions): CatchUp {
  const slots = createSlots(MAX_AT_ONCE);
  let last: Past | null = null;
  /** There was a mass loss after this revision: a reader that resumes from it, or from before, needs a snapshot. */
  let massLossAfter: string | null = null;
  let count = 0;

  /** @returns null after a mass loss */
  async function run(since: string, signal: AbortSignal): Promise<Past | null> {
    count += 1;
    // Both without waiting in between: the log has what follows this roll, from this position on.
    const current = roll();
    const position = log.here();
    const options = { store, clock, timeoutMs: CATCH_UP_TIMEOUT_MS };
    const changes = await collectChanges(options, since, current.revision, signal);
    const { lastPresent, massLoss: wasMassLoss } = pastLosses(current, changes, since, massLoss);
    // This process started after these losses, or during them, and has sent no event that this would contradict.
    if (log.isUntouched(position)) holdBack(lastPresent);
    if (!wasMassLoss) return { since, batches: replayChanges(current, changes, since), position };
    massLossAfter = since;
    return null;
  }

  function from(past: Past, since: string): Beginning | null {
    const reader = log.readFrom(past.position);
    if (reader === null || BigInt(past.since) > BigInt(since)) return null;
    const batches = past.batches.filter((batch) => BigInt(batch.revision) > BigInt(since));
    return { reader, batches: [...batches, { events: [], cursor: past.position.cursor }] };
  }

  return {
    count: () => count,
    async resume(since, signal) {
      const action = `read the changes after revision ${since} from ${store.label}`;
      try {
        return await withDeadline(clock, CATCH_UP_TIMEOUT_MS, signal, action, (within) =>
          slots(within, async () => {
            const shared = last && from(last, since);
            if (shared) return shared;
            if (massLossAfter !== null && BigInt(since) <= BigInt(massLossAfter)) return null;
            const past = await run(since, within);
            if (past === null) return null;
            // The replay that reaches back furthest serves most of the waiting readers.
            if (last === null || from(last, since) === null) last = past;
            return from(past, since);
          }),
        );
      } catch {
        // After any failure a snapshot continues the stream; the follower reports a store that is away.
        signal.throwIfAborted();
        return null;
      }
    },
  };
}
