import { onAbort } from '../lib/abort.ts';
import type { CatchUp } from './catch-up.ts';
import type { EventLog } from './event-log.ts';
import { type EventBatch, type EventReader, markPast } from './event-source.ts';
import type { LiveRoll } from './live-roll.ts';
import type { Beginning, createSnapshots } from './snapshots.ts';

interface EventParts {
  readonly log: EventLog;
  readonly live: Pick<LiveRoll, 'uncertain' | 'takeLost' | 'view'>;
  readonly catchUp: CatchUp;
  readonly snapshot: ReturnType<typeof createSnapshots>;
}

/**
 * One reader's events. It starts with a snapshot or a replay up to a position in the log, and continues with the log. When
 * the log starts over, the reader gets a new snapshot. It follows the log until `signal` aborts or it is closed.
 * @param onEnd called then
 */
export function openReader(
  parts: EventParts,
  since: string | null,
  signal: AbortSignal,
  onEnd: () => void,
): EventReader {
  /** What comes next, first its batches from `sent` on; null: the past is being read. */
  let begun: Beginning | null = null;
  let sent = 0;
  let ready: (() => void) | null = null;
  /** What happened up to this revision was there before the reader resumed. */
  let pastUpTo = 0n;
  /** Where the reader resumed; null: it did not, or has taken a batch since. */
  let resumedAfter: string | null = null;
  /** Something came since the last `take`, and nothing waited for it. */
  let missed = false;

  const wake = () => {
    const waiting = ready;
    ready = null;
    missed = waiting === null;
    waiting?.();
  };
  const following = parts.log.follow(wake);
  const close = () => {
    following[Symbol.dispose]();
    aborting[Symbol.dispose]();
    onEnd();
    wake();
  };
  const aborting = onAbort(signal, close);

  const begin = (beginning: Beginning) => {
    begun = beginning;
    sent = 0;
    wake();
  };
  if (since === null) begin(parts.snapshot());
  else
    resume(parts, since, signal).then((resumed) => {
      if (resumed) resumedAfter = since;
      // The view is ahead of the log by what waits for its verdict.
      pastUpTo = BigInt(parts.live.view()?.revision() ?? parts.log.here().revision);
      // The reader knew these nodes as present, and a snapshot made before this does not say that they may return.
      begin(resumed ?? parts.snapshot({ isNew: parts.live.takeLost() }));
    }, wake); // rejects after an abort: `take` says so

  function take(): EventBatch | 'end' | null {
    signal.throwIfAborted();
    missed = false;
    while (begun) {
      const { batches, reader } = begun;
      const batch = batches[sent];
      // A reader that falls behind the log meanwhile gets all of them: only then has it a cursor to continue from.
      if (batch && reader.isCurrent()) {
        sent += 1;
        resumedAfter = null;
        return batch;
      }
      // Nothing holds on to a snapshot that was sent.
      if (batches.length > 0) begun = { batches: [], reader };
      const next = reader.take();
      if (next === null) return null;
      const cursor = resumedAfter;
      resumedAfter = null;
      if (next !== 'restarted') return next === 'end' || !isUpTo(next, pastUpTo) ? next : markPast(next);
      pastUpTo = 0n;
      begin(parts.snapshot());
      // The snapshot is one in mid-stream also for a reader that has had no change before it: a cursor tells it so.
      if (cursor !== null) return { events: [], cursor };
    }
    return null;
  }

  return {
    take,
    whenReady(call) {
      if (missed) call();
      else ready = call;
    },
    close,
  };
}

function isUpTo({ cursor }: EventBatch, revision: bigint): boolean {
  return cursor !== null && BigInt(cursor) <= revision;
}

export async function* iterate(reader: EventReader): AsyncGenerator<EventBatch, void, undefined> {
  try {
    for (let batch = reader.take(); batch !== 'end'; batch = reader.take()) {
      if (batch) yield batch;
      else await new Promise<void>(reader.whenReady);
    }
  } finally {
    reader.close();
  }
}

/** @returns null: only a snapshot can continue the stream */
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
