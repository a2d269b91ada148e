import { type AuditEvent, diffEntry } from '../record/events.ts';
import type { Roll } from '../record/roll.ts';
import { type EventLog, type LogPosition, type LogReader, PIECE_EVENTS } from './event-log.ts';
import type { EventBatch } from './event-source.ts';
import type { LiveRoll } from './live-roll.ts';

/** The start of a reader: first `batches`, then the log. */
export interface Beginning {
  readonly batches: readonly EventBatch[];
  readonly reader: LogReader;
}

/** A snapshot that is at most so many batches old is shared instead of making a new one. */
const MAX_BATCHES_BEHIND = 64;

/**
 * Makes snapshots as batches of events: the entries in pieces, then `uncertain` during a mass loss, then `synced`. Readers
 * that start at about the same time share one, so that a thousand that resume do not cost a thousand snapshots. A snapshot
 * stays in memory only while a reader uses it.
 */
export function createSnapshots(live: LiveRoll, log: EventLog): () => Beginning {
  let last: { position: LogPosition; batches: WeakRef<readonly EventBatch[]> } | null = null;

  function begin(position: LogPosition, batches: readonly EventBatch[]): Beginning | null {
    const reader = log.readFrom(position);
    return reader && { batches, reader };
  }

  function shared(here: LogPosition): Beginning | null {
    const batches = last?.batches.deref();
    if (!last || !batches || here.next - last.position.next > MAX_BATCHES_BEHIND) return null;
    return begin(last.position, batches);
  }

  return () => {
    // Without waiting in between, so that the roll and the position in the log belong together.
    const here = log.here();
    const kept = shared(here);
    if (kept) return kept;
    const batches = snapshotBatches(live);
    last = { position: here, batches: new WeakRef(batches) };
    const begun = begin(here, batches);
    if (begun === null) throw new Error('the log has no reader for its own end');
    return begun;
  };
}

function snapshotBatches(live: LiveRoll): readonly EventBatch[] {
  const roll = live.told();
  const uncertain = live.uncertain();
  const { revision, entries } = roll;
  return [
    ...entryBatches(roll, uncertain ? live.openLosses() : new Map()),
    ...differenceBatches(roll),
    { events: [...(uncertain ? [uncertain] : []), { kind: 'synced', revision, entries }], cursor: revision },
  ];
}

/** @param losses that are uncertain */
function entryBatches({ revision, entries }: Roll, losses: ReturnType<LiveRoll['openLosses']>): readonly EventBatch[] {
  const pieces: EventBatch[] = [];
  for (let from = 0; from < entries.length; from += PIECE_EVENTS) {
    const events = entries.slice(from, from + PIECE_EVENTS).flatMap((entry) => {
      const { ec2InstanceId } = entry.record;
      const uncertain = losses.get(ec2InstanceId);
      const states = diffEntry(ec2InstanceId, null, entry, revision, true);
      return uncertain ? states.map((event) => ({ ...event, uncertain })) : states;
    });
    pieces.push({ events, cursor: null });
  }
  return pieces;
}

/** The differences to ECS that stand. */
function differenceBatches({ revision, differences }: Roll): readonly EventBatch[] {
  if (!differences) return [];
  const events = [...differences].map(([key, difference]): AuditEvent => {
    return { kind: 'difference', revision, key, difference, snapshot: true };
  });
  const pieces = Math.ceil(events.length / PIECE_EVENTS);
  return Array.from({ length: pieces }, (_, n) => ({
    events: events.slice(n * PIECE_EVENTS, (n + 1) * PIECE_EVENTS),
    cursor: null,
  }));
}
