import type { Clock } from '../lib/clock.ts';
import { type AuditEvent, diffEntry, type RollEvent } from '../record/events.ts';
import { type EventLog, inPieces, type LogPosition, type LogReader } from './event-log.ts';
import type { EventBatch } from './event-source.ts';
import type { LiveRoll } from './live-roll.ts';

/** The start of a reader: first `batches`, then the log. */
export interface Beginning {
  readonly batches: readonly EventBatch[];
  readonly reader: LogReader;
}

interface SnapshotOptions {
  /** One that was made before will not do. */
  readonly isNew?: boolean;
}

/** A snapshot after which something changed is shared while it is at most so old: a reader takes it for the roll of now. */
const MAX_AGE_MS = 1_000;
const MAX_BATCHES_BEHIND = 64;

/**
 * Makes snapshots as batches of events: the entries in pieces, then `uncertain` during a mass loss, then `synced`. Readers
 * that start at about the same time share one, so that a thousand that resume do not cost a thousand snapshots. A snapshot
 * stays in memory only while a reader uses it.
 */
export function createSnapshots(
  live: LiveRoll,
  log: EventLog,
  clock: Pick<Clock, 'monotonicMs'>,
): (options?: SnapshotOptions) => Beginning {
  let last: { position: LogPosition; madeAtMs: number; batches: WeakRef<readonly EventBatch[]> } | null = null;
  return ({ isNew = false } = {}) => {
    // Without waiting in between, so that the roll and the position in the log belong together.
    const here = log.here();
    const kept = last?.batches.deref();
    const nowMs = clock.monotonicMs();
    const behind = here.next - (last?.position.next ?? 0);
    const limit = last && nowMs - last.madeAtMs <= MAX_AGE_MS ? MAX_BATCHES_BEHIND : 0;
    if (last && kept && behind <= limit && !isNew) {
      const reader = log.readFrom(last.position);
      if (reader) return { batches: kept, reader };
    }
    const batches = snapshotBatches(live);
    last = { position: here, madeAtMs: nowMs, batches: new WeakRef(batches) };
    const reader = log.readFrom(here);
    if (reader === null) throw new Error('the log has no reader for its own end');
    return { batches, reader };
  };
}

function snapshotBatches(live: LiveRoll): readonly EventBatch[] {
  const { revision, entries, differences = new Map() } = live.told();
  const uncertain = live.uncertain();
  const states = entries.flatMap((entry): RollEvent[] => {
    const { ec2InstanceId } = entry.record;
    const loss = uncertain ? live.openLosses().get(ec2InstanceId) : undefined;
    const events = diffEntry(ec2InstanceId, null, entry, revision, true);
    return loss ? events.map((event) => ({ ...event, uncertain: loss })) : events;
  });
  const present = [...differences].map(([key, difference]): AuditEvent => {
    return { kind: 'difference', revision, key, difference, snapshot: true };
  });
  return [
    ...[...inPieces(states), ...inPieces(present)].map((events) => ({ events, cursor: null })),
    { events: [...(uncertain ? [uncertain] : []), { kind: 'synced', revision, entries }], cursor: revision },
  ];
}
