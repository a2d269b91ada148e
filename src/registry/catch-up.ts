import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { createSlots } from '../lib/slots.ts';
import type { NodeRecord } from '../record/record.ts';
import type { Change, WatchBatch } from '../store/read-roll.ts';
import type { Store } from '../store/store.ts';
import { CompactedError, StoreError } from '../store/store-errors.ts';
import { type EventLog, estimateBytes, KEPT_BYTES, type LogPosition } from './event-log.ts';
import type { LiveRoll } from './live-roll.ts';
import type { MassLossLimits } from './mass-loss.ts';
import { type PastBatch, replayChanges } from './replay.ts';
import type { Beginning } from './snapshots.ts';
import { watchBatches } from './watch-batches.ts';

/** Reading the roll is cheaper than reading more changes, or more bytes of records than the log keeps. */
const MAX_CHANGES = 20_000;
/** But a snapshot says less about a mass loss: all nodes that vanish and return once are read. */
const MAX_CHANGES_PER_NODE = 4;
const CATCH_UP_TIMEOUT_MS = 10_000;

/**
 * All changes after revision `since` up to `to`, by a watch that ends there. It also ends when the store confirms that
 * there are no more: `to` may be a revision without a change of ours.
 * @throws CompactedError, StoreError (also for more than `maxChanges` or 32 MiB), or the reason of `signal`
 */
async function collectChanges(
  { store, clock }: Pick<CatchUpOptions, 'store' | 'clock'>,
  since: string,
  to: string,
  maxChanges: number,
  signal: AbortSignal,
): Promise<readonly WatchBatch[]> {
  const batches: WatchBatch[] = [];
  const records = new Map<string, NodeRecord | null>();
  let count = 0;
  let bytes = 0;
  let last = since;

  /** What a record replaces is that of the node's change before, which is kept already: the store sends it once more. */
  function shared(change: Change): Change {
    if (change.kind !== 'record') return change;
    const { instanceId, record } = change;
    const known = records.get(instanceId);
    records.set(instanceId, record);
    bytes += estimateBytes(record, known === undefined ? change.previous : null);
    return known === undefined ? change : { ...change, previous: known };
  }

  for await (const batch of watchBatches(store, clock, since, CATCH_UP_TIMEOUT_MS, signal)) {
    const revision = BigInt(batch.revision);
    if (revision < BigInt(last)) throw new CompactedError(`${store.label}: revision ${revision} came after ${last}`);
    if (batch.confirmedMsAgo !== undefined) return batches;
    if (revision <= BigInt(to)) {
      batches.push({ ...batch, changes: batch.changes.map(shared) });
      count += batch.changes.length;
    }
    if (count > maxChanges || bytes > KEPT_BYTES) {
      throw new StoreError(`${store.label}: too many changes after revision ${since}`, { retryable: false });
    }
    if (revision >= BigInt(to)) return batches;
    last = batch.revision;
  }
  throw new StoreError(`${store.label}: the watch ended`, { retryable: true });
}

interface CatchUpOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: EventLog;
  readonly live: Pick<LiveRoll, 'told' | 'openLosses' | 'takePast'>;
  /** null: no loss is uncertain. */
  readonly massLoss: MassLossLimits | null;
  /** Aborts when the process needs no events any more. */
  readonly life: AbortSignal;
}

export interface CatchUp {
  /**
   * The events after `since`, which the log no longer has, and a reader of the log from there on. null: the store no
   * longer has the changes, or they are too many or take too long, so a snapshot is cheaper.
   * Rejects only with the reason of `signal`.
   */
  resume(since: string, signal: AbortSignal): Promise<Beginning | null>;
  /** How often the store was asked. */
  count(): number;
}

const MAX_AT_ONCE = 2;
/** Clients come back within some seconds of a restart of their agent; for a later one the store is asked again. */
const KEPT_UNUSED_MS = 30_000;

/**
 * The latest replay. Readers that resume at the same time, as after a restart of their agent, share it. It may be as large as
 * the log, and its events keep their rendered texts, so it is dropped when no reader has used it for a while.
 */
interface Past {
  readonly since: string;
  readonly batches: readonly PastBatch[];
  readonly position: LogPosition;
}

export function createCatchUp({ store, clock, log, live, massLoss, life }: CatchUpOptions): CatchUp {
  const slots = createSlots(MAX_AT_ONCE);
  let last: Past | null = null;
  let usedAtMs = 0;
  let isDropping = false;
  let count = 0;

  /** @returns null: a snapshot says better which losses are uncertain */
  async function run(since: string, signal: AbortSignal): Promise<Past | null> {
    count += 1;
    // Both without waiting in between: the log has what follows this roll, from this position on.
    const current = live.told();
    const position = log.here();
    const maxChanges = Math.max(MAX_CHANGES, MAX_CHANGES_PER_NODE * current.entries.length);
    const changes = await collectChanges({ store, clock }, since, current.revision, maxChanges, signal);
    // What the log has got meanwhile, before the replay adds to it.
    const isStillHere = log.here().next === position.next;
    const { takePast, openLosses } = live;
    const { batches, isUncertain } = replayChanges(current, changes, since, { limits: massLoss, takePast, openLosses });
    // A `certain` that the log has got meanwhile is not about these losses.
    return isUncertain && !isStillHere ? null : { since, batches, position };
  }

  function from(past: Past, since: string): Beginning | null {
    const reader = log.readFrom(past.position);
    if (reader === null || BigInt(past.since) > BigInt(since)) return null;
    const batches = past.batches.filter((batch) => BigInt(batch.revision) > BigInt(since));
    return { reader, batches: [...batches, { events: [], cursor: past.position.revision }] };
  }

  function keep(past: Past) {
    last = past;
    usedAtMs = clock.monotonicMs();
    if (!isDropping) void dropUnused();
  }

  async function dropUnused(): Promise<void> {
    isDropping = true;
    for (let restMs = KEPT_UNUSED_MS; restMs > 0 && !life.aborted; ) {
      await clock.sleep(restMs, life).catch(() => {}); // aborted: the loop's condition ends it
      restMs = usedAtMs + KEPT_UNUSED_MS - clock.monotonicMs();
    }
    [last, isDropping] = [null, false];
  }

  return {
    count: () => count,
    async resume(since, signal) {
      const action = `read the changes after revision ${since} from ${store.label}`;
      try {
        return await withDeadline(clock, CATCH_UP_TIMEOUT_MS, signal, action, (within) =>
          slots(within, async () => {
            const shared = last && from(last, since);
            if (shared) {
              usedAtMs = clock.monotonicMs();
              return shared;
            }
            // Of no use to any reader any more, and the next one takes as much memory.
            if (last && log.readFrom(last.position) === null) last = null;
            const past = await run(since, within);
            if (past === null) return null;
            // The replay that reaches back furthest serves most of the waiting readers.
            if (last === null || from(last, since) === null) keep(past);
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
