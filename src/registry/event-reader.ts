import type { CatchUp } from './catch-up.ts';
import type { EventLog } from './event-log.ts';
import type { EventBatch } from './event-source.ts';
import type { LiveRoll } from './live-roll.ts';
import type { Beginning } from './snapshots.ts';

interface EventParts {
  readonly log: EventLog;
  readonly live: Pick<LiveRoll, 'uncertain'>;
  readonly catchUp: CatchUp;
  readonly snapshot: () => Beginning;
}

/**
 * One reader's events. It starts with a snapshot or a replay up to a position in the log, and continues with the log. When
 * the log starts over, the reader gets a new snapshot.
 * @param onEnd called when the reader has ended
 */
export async function* readEvents(
  parts: EventParts,
  since: string | null,
  signal: AbortSignal,
  onEnd: () => void,
): AsyncGenerator<EventBatch, void, undefined> {
  try {
    let resumed = since === null ? null : await resume(parts, since, signal);
    for (;;) {
      const { batches, reader } = resumed ?? parts.snapshot();
      try {
        for (const batch of batches) {
          signal.throwIfAborted();
          if (!reader.isCurrent()) break;
          yield batch;
        }
        for (let next = await reader.next(signal); next !== 'restarted'; next = await reader.next(signal)) {
          if (next === null) return;
          yield next;
        }
      } finally {
        reader.close();
      }
      resumed = null;
    }
  } finally {
    onEnd();
  }
}

/** @returns null: the reader needs a snapshot */
async function resume(
  { log, live, catchUp }: EventParts,
  since: string,
  signal: AbortSignal,
): Promise<Beginning | null> {
  const reader = log.readAfter(since);
  const begun = reader ? { batches: [], reader } : await catchUp.resume(since, signal);
  const uncertain = live.uncertain();
  if (begun === null || uncertain === null) return begun;
  // It may have begun before `since`, or in another process.
  return { ...begun, batches: [{ events: [uncertain], cursor: since }, ...begun.batches] };
}
