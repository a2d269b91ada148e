import type { MassLossLimits } from '../../config/mass-loss-limits.ts';
import type { Roll, RollEntry } from '../../record/roll.ts';
import type { Store } from '../../store/store.ts';
import type { Clock } from '../../timing/clock.ts';
import { withDeadline } from '../../timing/with-deadline.ts';
import { collectChanges } from './collect-changes.ts';
import type { EventLog, LogPosition } from './event-log.ts';
import { pastLosses } from './past-losses.ts';
import { type PastBatch, retell } from './retell.ts';
import { createSlots } from './slots.ts';
import type { Beginning } from './snapshot-batches.ts';

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
