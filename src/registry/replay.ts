import { abortable } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { diffEntry } from '../record/events.ts';
import type { NodeRecord, Presence } from '../record/record.ts';
import { presenceState, type Roll, type RollEntry } from '../record/roll.ts';
import { CompactedError, StoreError } from '../store/errors.ts';
import type { Store, WatchBatch } from '../store/store.ts';
import type { EventLog, LogPosition } from './event-log.ts';
import type { EventBatch } from './event-source.ts';
import { isMassLoss, type MassLossLimits } from './mass-loss.ts';
import { createView } from './roll-view.ts';
import type { Beginning } from './snapshots.ts';
import { isConfirmation, watchBatches } from './watch-batches.ts';

/** Of several kB each at worst: some ten MB. A roll is cheaper to read than more of them. */
const MAX_CHANGES = 20_000;

/**
 * All changes after revision `since` up to `to`, by a watch that ends there. It also ends where the store confirms that
 * there are no more: `to` need not be a revision at which anything of ours changed.
 * @throws CompactedError, or a StoreError also for more than 20,000 changes, or the reason of `signal`
 */
export async function collectChanges(
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
 * The roll as it was before `batches`, of which each change says what it replaced.
 * @param revision the one the first batch followed @param batches all that led to `roll`, in order
 */
export function rewind(roll: Roll, batches: readonly WatchBatch[], revision: string): Roll {
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

export interface PastLosses {
  /** Nodes that were present at `since` or after it, each with its entry from when it was there last. */
  readonly lastPresent: ReadonlyMap<string, RollEntry>;
  /** So many were gone together that whoever followed was told that it is uncertain, and perhaps of none as lost. */
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
  const past = rewind(roll, batches, since);
  const view = createView(past);
  const lastPresent = new Map<string, RollEntry>();
  /** Those that were present in this past and are lost. */
  const gone = new Set<string>();
  let massLoss = false;
  const note = (entry: RollEntry) => {
    if (presenceState(entry) === 'present') lastPresent.set(entry.record.ec2InstanceId, entry);
  };
  past.entries.forEach(note);
  for (const batch of batches) {
    for (const { instanceId, after } of view.apply(batch) ?? []) {
      if (after) note(after);
      if (after && lastPresent.has(instanceId) && presenceState(after) === 'lost') gone.add(instanceId);
      else gone.delete(instanceId);
    }
    massLoss ||= isMassLoss(gone.size, view.count().present, limits);
  }
  return { lastPresent, massLoss };
}

export interface PastBatch extends EventBatch {
  readonly revision: string;
}

/**
 * What happened in `batches`, as events, and nothing held back: whatever a reader was told of it before, it then knows
 * each node as it is in `roll`.
 * @param batches all after revision `since` that led to `roll` @returns one for each in which anything happened
 */
export function retell(roll: Roll, batches: readonly WatchBatch[], since: string): readonly PastBatch[] {
  const view = createView(rewind(roll, batches, since));
  return batches.flatMap((batch) => {
    const { revision } = batch;
    const events = (view.apply(batch) ?? []).flatMap(({ instanceId, before, after }) =>
      diffEntry(instanceId, before, after, revision),
    );
    return events.length > 0 ? [{ events, revision, cursor: revision }] : [];
  });
}

/** Runs at most `count` pieces of work at once; the others wait their turn, or until their signal aborts. */
export function createSlots(count: number) {
  let free = count;
  const waiting = new Set<() => void>();

  async function enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (free > 0) {
      free -= 1;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.add(resolve);
    try {
      await abortable(promise, signal);
    } catch (error) {
      // The slot was handed over at the same moment: the next one gets it.
      if (!waiting.delete(resolve)) leave();
      throw error;
    }
  }

  /** The slot is handed over, so that nobody who comes now gets in before those who wait. */
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

export interface CatchUpOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: EventLog;
  /** What the log's next batch will follow. Nothing is held back in it. */
  readonly roll: () => Roll;
  /** null: losses are never held back. */
  readonly massLoss: MassLossLimits | null;
  /** As in `LiveRoll`. */
  readonly holdBack: (lastPresent: ReadonlyMap<string, RollEntry>) => void;
}

export interface CatchUp {
  /**
   * What happened after `since`, which the log no longer has, and a reader of the log from there on; null when the store
   * has it no more, when it is too much, or takes too long: then a snapshot says less and costs less. Also null when
   * there was a mass loss: a snapshot says who is there without calling anybody lost who returned, or may return.
   * Rejects by the reason of `signal` only.
   */
  resume(since: string, signal: AbortSignal): Promise<Beginning | null>;
  /** Times the store was asked. */
  count(): number;
}

const CATCH_UP_TIMEOUT_MS = 10_000;
const MAX_AT_ONCE = 2;

/** What was told from the past last. Readers who come back together, as after a restart of their agent, share it. */
interface Past {
  readonly since: string;
  readonly batches: readonly PastBatch[];
  readonly position: LogPosition;
}

export function createCatchUp({ store, clock, log, roll, massLoss, holdBack }: CatchUpOptions): CatchUp {
  const slots = createSlots(MAX_AT_ONCE);
  let last: Past | null = null;
  /** In the past of who comes back from there, or from before, was a mass loss: it need not be read to know that. */
  let massLossAfter: string | null = null;
  let count = 0;

  /** @returns null where there was a mass loss */
  async function run(since: string, signal: AbortSignal): Promise<Past | null> {
    count += 1;
    // Taken together, before anything is waited for: what follows the roll is in the log from that position on.
    const known = roll();
    const position = log.here();
    const options = { store, clock, timeoutMs: CATCH_UP_TIMEOUT_MS };
    const changes = await collectChanges(options, since, known.revision, signal);
    const { lastPresent, massLoss: wasMassLoss } = pastLosses(known, changes, since, massLoss);
    // This process began after they were lost, or among them, and has told nobody anything that it would take back.
    if (log.isUntouched(position)) holdBack(lastPresent);
    if (!wasMassLoss) return { since, batches: retell(known, changes, since), position };
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
            // The one that reaches back furthest serves most of those who still wait.
            if (last === null || from(last, since) === null) last = past;
            return from(past, since);
          }),
        );
      } catch {
        // Whatever it was, a snapshot is the way on; where the store is away, whoever follows it says so.
        signal.throwIfAborted();
        return null;
      }
    },
  };
}
