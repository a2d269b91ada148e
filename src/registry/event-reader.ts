import type { EventLog } from './event-log.ts';
import type { EventBatch } from './event-source.ts';
import type { CatchUp } from './replay.ts';
import type { Beginning } from './snapshots.ts';

interface EventParts {
  readonly log: EventLog;
  readonly catchUp: CatchUp;
  readonly snapshot: () => Beginning;
  /** As in `LiveRoll`. */
  readonly canResume: (since: string) => boolean;
  /** As in `LiveRoll`. */
  readonly isCaughtUp: (since: string) => boolean;
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
    // Events that this process receives only now may have reached the reader through another process.
    let unsureAfter = resumed && since !== null && !parts.isCaughtUp(since) ? since : null;
    for (;;) {
      const { batches, reader } = resumed ?? parts.snapshot();
      for (const batch of batches) {
        signal.throwIfAborted();
        if (!reader.isCurrent()) break;
        yield batch;
      }
      for (let next = await reader.next(signal); next !== 'restarted'; next = await reader.next(signal)) {
        if (next === null) return;
        if (unsureAfter !== null) {
          if (!parts.canResume(unsureAfter)) break;
          if (parts.isCaughtUp(unsureAfter)) unsureAfter = null;
        }
        yield next;
      }
      resumed = null;
      unsureAfter = null;
    }
  } finally {
    onEnd();
  }
}

/** @returns null: the reader needs a snapshot */
async function resume(
  { log, catchUp, canResume }: EventParts,
  since: string,
  signal: AbortSignal,
): Promise<Beginning | null> {
  if (!canResume(since)) return null;
  const reader = log.readAfter(since);
  if (reader) return { batches: [], reader };
  const caughtUp = await catchUp.resume(since, signal);
  // Losses may have been held since.
  return canResume(since) ? caughtUp : null;
}
