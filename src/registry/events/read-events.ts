import type { EventBatch } from '../event-source.ts';
import type { CatchUp } from './catch-up.ts';
import type { EventLog } from './event-log.ts';
import type { Beginning } from './snapshot-batches.ts';

export interface EventParts {
  readonly log: EventLog;
  readonly catchUp: CatchUp;
  readonly snapshot: () => Beginning;
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
      const { batches, reader } = resumed ?? parts.snapshot();
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

async function resume({ log, catchUp }: EventParts, since: string, signal: AbortSignal): Promise<Beginning | null> {
  const reader = log.readAfter(since);
  return reader ? { batches: [], reader } : await catchUp.resume(since, signal);
}
