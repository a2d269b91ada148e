import type { CatchUp, Resumed } from './catch-up.ts';
import type { EventLog } from './event-log.ts';
import type { EventBatch } from './event-source.ts';
import type { LiveRoll } from './live-roll.ts';
import type { Shown } from './snapshot-batches.ts';

export interface EventParts {
  readonly live: LiveRoll;
  readonly log: EventLog;
  readonly catchUp: CatchUp;
  readonly snapshots: (shown: Shown) => readonly EventBatch[];
}

/**
 * One reader's events. It begins with what leads up to a place in the log, and goes on from there; where the log starts
 * over, so does the reader.
 * @param onEnd called when nothing more is read
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
      const { batches, reader } = resumed ?? snapshot(parts);
      for (const batch of batches) {
        signal.throwIfAborted();
        if (!reader.isCurrent()) break;
        yield batch;
      }
      for (let next = await reader.next(signal); next !== 'restarted'; next = await reader.next(signal)) {
        if (next === null) return;
        yield next;
      }
      resumed = null;
    }
  } finally {
    onEnd();
  }
}

async function resume({ log, catchUp }: EventParts, since: string, signal: AbortSignal): Promise<Resumed | null> {
  const reader = log.readAfter(since);
  return reader ? { batches: [], reader } : await catchUp.resume(since, signal);
}

/** The roll and the place in the log belong together: nothing is waited for between them. */
function snapshot({ live, log, snapshots }: EventParts): Resumed {
  const position = log.here();
  const reader = log.readFrom(position);
  if (reader === null) throw new Error('the log does not have its own end');
  const shown = { roll: live.shown(), uncertainty: live.guard().uncertainty, cursor: position.cursor };
  return { batches: snapshots(shown), reader };
}
