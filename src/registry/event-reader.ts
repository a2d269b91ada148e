import type { EventLog } from './event-log.ts';
import type { EventBatch } from './event-source.ts';
import type { CatchUp } from './replay.ts';
import type { Beginning } from './snapshots.ts';

export interface EventParts {
  readonly log: EventLog;
  readonly catchUp: CatchUp;
  readonly snapshot: () => Beginning;
  /** As in `LiveRoll`. */
  readonly canResume: (since: string) => boolean;
  /** As in `LiveRoll`. */
  readonly isCaughtUp: (since: string) => boolean;
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
    // What comes in only now may have been told to the reader elsewhere.
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

/** @returns null where a snapshot has to tell the reader how things are */
async function resume(
  { log, catchUp, canResume }: EventParts,
  since: string,
  signal: AbortSignal,
): Promise<Beginning | null> {
  if (!canResume(since)) return null;
  const reader = log.readAfter(since);
  if (reader) return { batches: [], reader };
  const caughtUp = await catchUp.resume(since, signal);
  // Losses may be held since then.
  return canResume(since) ? caughtUp : null;
}
