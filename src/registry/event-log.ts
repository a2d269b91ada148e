import { abortable } from '../lib/abort.ts';
import { deferred } from '../lib/deferred.ts';
import { type EventBatch, SlowReaderError } from './event-source.ts';

/**
 * The newest events of a process, kept once for all its readers. Each reader reads at its own pace. The log does not grow
 * with the number of readers: a reader that falls behind it is cut off.
 */
export interface EventLog {
  /** Starts over at the roll of `revision`: all readers need a new snapshot. */
  restart(revision: string): void;
  /** @param revision of the store when the batch was made: that of its events, or a later one */
  append(revision: string, batch: EventBatch): void;
  /** Nothing happened up to `revision`. */
  confirm(revision: string, cursor: string | null): void;
  /** The position of the next batch. */
  here(): LogPosition;
  /** A reader from this position; null: the log no longer has it, or started over since. */
  readFrom(position: LogPosition): LogReader | null;
  /** A reader of all events after `revision`, which may be ahead of the log; null: the log no longer has them all. */
  readAfter(revision: string): LogReader | null;
  /** Whether nothing was appended before this position and the log never had a reader. False if it started over since. */
  isUntouched(before: LogPosition): boolean;
  /** Ends all readers. */
  close(): void;
  /** Readers cut off so far. */
  slowReaders(): number;
}

/** A position in the log; opaque outside of it. */
export interface LogPosition {
  readonly generation: number;
  readonly next: number;
  readonly cursor: string | null;
}

export interface LogReader {
  /**
   * The next batch, as soon as there is one; `restarted`: the log started over, so this reader has ended; null: the log
   * was closed. Rejects with `SlowReaderError`, or with the reason of `signal`.
   */
  next(signal: AbortSignal): Promise<EventBatch | 'restarted' | null>;
  /** False when the log started over. @throws SlowReaderError when the log no longer has the next batch */
  isCurrent(): boolean;
}

/** How many events the log keeps, in at most as many batches, besides what was appended last. */
const KEPT = 4_096;

/** Events in one batch for readers: a mass loss may have thousands. */
export const PIECE_EVENTS = 64;

interface Logged {
  readonly revision: bigint;
  /** The batch's cursor; 0: none. */
  readonly cursor: bigint;
  readonly batch: EventBatch;
}

export function createEventLog(): EventLog {
  let generation = 0;
  let kept: Logged[] = [];
  /** The sizes of the appended batches, the oldest first. */
  let appended: { readonly batches: number; readonly events: number }[] = [];
  let keptEvents = 0;
  /** The index of the first kept batch, counted since the log started over. */
  let first = 0;
  /** The log has all events after this revision. */
  let floor = 0n;
  let head = 0n;
  // 0: none.
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

  /** Resolves at the next change of the log. Rejects with the reason of `signal`. */
  async function changed(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = deferred<void>();
    waiting.add(resolve);
    try {
      await abortable(promise, signal);
    } finally {
      waiting.delete(resolve);
    }
  }

  /** Removes batches that were appended together at once, but never the newest: one huge change must not cut off all readers. */
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

  /** @param skipTo the reader has all batches up to this revision from another process */
  function reader({ generation: born, next: from, cursor: cursorAtStart }: LogPosition, skipTo = 0n): LogReader {
    hadReaders = true;
    let next = from;
    let sent = number(cursorAtStart);
    let cutOff = false;

    const isCurrent = () => {
      if (born !== generation) return false;
      if (next >= first) return true;
      if (!cutOff) slowReaders += 1;
      cutOff = true;
      throw new SlowReaderError(
        `events are read too slowly: only about the newest ${KEPT} are kept; ${sent === 0n ? 'begin with a snapshot' : `resume after revision ${sent}`}`,
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
            if (logged.cursor < sent) return { events: logged.batch.events, cursor: cursorText(sent) };
            sent = logged.cursor;
            // The same object for all readers, so that its encoded text can be shared.
            return logged.batch;
          }
          if (cursor > sent) {
            sent = cursor;
            return { events: [], cursor: cursorText(sent) };
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
      const pieces = cutBatch(batch, cursorText(before));
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
    here: () => ({ generation, next: first + kept.length, cursor: cursorText(cursor) }),
    readFrom: (position) => (position.generation === generation && position.next >= first ? reader(position) : null),
    readAfter(revision) {
      const sent = BigInt(revision);
      if (sent < floor) return null;
      const index = kept.findIndex((logged) => logged.revision > sent);
      const next = first + (index < 0 ? kept.length : index);
      return reader({ generation, next, cursor: revision }, sent > head ? sent : 0n);
    },
    isUntouched: (before) => before.generation === generation && before.next === 0 && !hadReaders,
    close() {
      closed = true;
      wake();
    },
    slowReaders: () => slowReaders,
  };
}

/** Cuts a batch into pieces that are quick to process. Only the last piece has the batch's cursor. */
function cutBatch({ events, cursor }: EventBatch, before: string | null): readonly EventBatch[] {
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

function cursorText(cursor: bigint): string | null {
  return cursor === 0n ? null : String(cursor);
}
