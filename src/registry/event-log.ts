import { abortable } from '../lib/abort.ts';
import { type EventBatch, SlowReaderError } from './event-source.ts';

/**
 * The newest events of a process, once for all of its readers. Each reads at its own pace; what is kept does not grow
 * with their number, and who falls behind what is kept is cut off instead.
 */
export interface EventLog {
  /** Starts over: what follows is told to those who know the roll at `revision`. All readers have to learn that anew. */
  restart(revision: string): void;
  /** @param revision of the store at which the batch became known: that of its events, or a later one */
  append(revision: string, batch: EventBatch): void;
  /** Nothing happened up to `revision`. */
  confirm(revision: string, cursor: string | null): void;
  /** Where what comes from now on will be. */
  here(): LogPosition;
  /** A reader from there on; null when that is not kept any more, or the log started over since. */
  readFrom(position: LogPosition): LogReader | null;
  /** A reader of what follows `revision`, which may lie ahead; null when that is not kept any more. */
  readAfter(revision: string): LogReader | null;
  /** Nothing was appended before that place, and nobody has read the log. False where it started over since. */
  isUntouched(before: LogPosition): boolean;
  /** Ends all readers. */
  close(): void;
  /** Readers cut off so far. */
  slowReaders(): number;
}

/** A place in the log, for the log. */
export interface LogPosition {
  readonly generation: number;
  readonly next: number;
  readonly cursor: string | null;
}

export interface LogReader {
  /**
   * The next batch, as soon as there is one; `restarted`: the log started over, and this reader is of no more use; null:
   * the log was closed. Rejects with `SlowReaderError`, or by the reason of `signal`.
   */
  next(signal: AbortSignal): Promise<EventBatch | 'restarted' | null>;
  /** False when the log started over. @throws SlowReaderError when the next batch is kept no more */
  isCurrent(): boolean;
}

/** What is kept at least, beside what was appended last: 4,096 events in at most as many batches. */
const KEPT = 4_096;

/** Events of a batch that are handed out together: a mass loss is thousands. */
export const PIECE_EVENTS = 64;

interface Logged {
  readonly revision: bigint;
  /** Of the batch, zero for none. */
  readonly cursor: bigint;
  readonly batch: EventBatch;
}

export function createEventLog(): EventLog {
  let generation = 0;
  let kept: Logged[] = [];
  /** In what portions, the oldest first. */
  let appended: { readonly batches: number; readonly events: number }[] = [];
  let keptEvents = 0;
  /** The number of the first kept batch, counted since the log started over. */
  let first = 0;
  /** All that happened after this revision is kept. */
  let floor = 0n;
  let head = 0n;
  // Zero: there is none.
  let cursor = 0n;
  let hadReaders = false;
  let closed = false;
  let slowReaders = 0;
  const waiting = new Set<() => void>();

  function wake() {
    const woken = [...waiting];
    waiting.clear();
    for (const resume of woken) resume();
  }

  /** The next change of the log. Rejects with the reason of `signal`. */
  async function changed(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    waiting.add(resolve);
    try {
      await abortable(promise, signal);
    } finally {
      waiting.delete(resolve);
    }
  }

  /** What was appended together goes together, and the newest stays: else one huge change would cut everybody off. */
  function trim() {
    for (let oldest = appended[0]; oldest && appended.length > 1; oldest = appended[0]) {
      if (keptEvents - oldest.events < KEPT && kept.length <= KEPT) return;
      appended.shift();
      keptEvents -= oldest.events;
      floor = kept[oldest.batches - 1]?.revision ?? floor;
      kept = kept.slice(oldest.batches);
      first += oldest.batches;
    }
  }

  /** @param skipTo batches that became known up to there were told by another process */
  function reader({ generation: born, next: from, cursor: cursorAtStart }: LogPosition, skipTo = 0n): LogReader {
    hadReaders = true;
    let next = from;
    let told = number(cursorAtStart);
    let cutOff = false;

    const isCurrent = () => {
      if (born !== generation) return false;
      if (next >= first) return true;
      if (!cutOff) slowReaders += 1;
      cutOff = true;
      throw new SlowReaderError(
        `events are read too slowly: only about the ${KEPT} newest are kept; ${told === 0n ? 'begin with a snapshot' : `resume after revision ${told}`}`,
      );
    };

    return {
      isCurrent,
      async next(signal) {
        for (;;) {
          signal.throwIfAborted();
          if (closed) return null;
          if (!isCurrent()) return 'restarted';
          for (let logged = kept[next - first]; logged; logged = kept[next - first]) {
            next += 1;
            if (logged.revision <= skipTo) continue;
            if (logged.cursor < told) return { events: logged.batch.events, cursor: text(told) };
            told = logged.cursor;
            // The same object for all readers: what is made of it need be made only once.
            return logged.batch;
          }
          if (cursor > told) {
            told = cursor;
            return { events: [], cursor: text(told) };
          }
          await changed(signal);
        }
      },
    };
  }

  return {
    restart(revision) {
      generation += 1;
      kept = [];
      appended = [];
      keptEvents = 0;
      first = 0;
      floor = BigInt(revision);
      head = floor;
      cursor = floor;
      hadReaders = false;
      wake();
    },
    append(revision, batch) {
      head = BigInt(revision);
      const before = cursor;
      cursor = number(batch.cursor);
      const pieces = cut(batch, text(before));
      for (const piece of pieces) kept.push({ revision: head, cursor: number(piece.cursor), batch: piece });
      appended.push({ batches: pieces.length, events: batch.events.length });
      keptEvents += batch.events.length;
      trim();
      wake();
    },
    confirm(revision, nextCursor) {
      head = BigInt(revision);
      const before = cursor;
      cursor = number(nextCursor);
      if (cursor > before) wake();
    },
    here: () => ({ generation, next: first + kept.length, cursor: text(cursor) }),
    readFrom: (position) => (position.generation === generation && position.next >= first ? reader(position) : null),
    readAfter(revision) {
      const told = BigInt(revision);
      if (told < floor) return null;
      const index = kept.findIndex((logged) => logged.revision > told);
      const next = first + (index < 0 ? kept.length : index);
      return reader({ generation, next, cursor: revision }, told > head ? told : 0n);
    },
    isUntouched: (before) => before.generation === generation && before.next === 0 && !hadReaders,
    close() {
      closed = true;
      wake();
    },
    slowReaders: () => slowReaders,
  };
}

/** In pieces that hold up nobody. Only with the last one the batch is finished. */
function cut({ events, cursor }: EventBatch, before: string | null): readonly EventBatch[] {
  const pieces: EventBatch[] = [];
  for (let from = 0; from < events.length || from === 0; from += PIECE_EVENTS) {
    const isLast = from + PIECE_EVENTS >= events.length;
    pieces.push({ events: events.slice(from, from + PIECE_EVENTS), cursor: isLast ? cursor : before });
  }
  return pieces;
}

function number(cursor: string | null): bigint {
  return cursor === null ? 0n : BigInt(cursor);
}

function text(cursor: bigint): string | null {
  return cursor === 0n ? null : String(cursor);
}
