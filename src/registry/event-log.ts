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

/** What is kept at least, beside the newest batch: 4,096 events in at most as many batches. */
const KEPT = 4_096;

interface Logged {
  readonly revision: bigint;
  /** Of the batch, zero for none. */
  readonly cursor: bigint;
  readonly batch: EventBatch;
}

export function createEventLog(): EventLog {
  let generation = 0;
  let kept: Logged[] = [];
  let keptEvents = 0;
  /** The number of the first kept batch, counted since the log started over. */
  let first = 0;
  /** All that happened after this revision is kept. */
  let floor = 0n;
  let head = 0n;
  // Zero: there is none.
  let cursor = 0n;
  let closed = false;
  let slowReaders = 0;
  const waiting = new Set<() => void>();

  function wake() {
    const woken = [...waiting];
    waiting.clear();
    for (const resume of woken) resume();
  }

  /** The next change of the log. Rejects with the reason of `signal`. */
  function changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const resume = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = () => {
        waiting.delete(resume);
        reject(signal.reason);
      };
      waiting.add(resume);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  function trim() {
    for (let oldest = kept[0]; oldest && kept.length > 1; oldest = kept[0]) {
      const newer = keptEvents - oldest.batch.events.length;
      if (newer < KEPT && kept.length <= KEPT) return;
      kept.shift();
      keptEvents = newer;
      floor = oldest.revision;
      first += 1;
    }
  }

  /** @param skipTo batches that became known up to there were told by another process */
  function reader({ generation: born, next: from, cursor: cursorAtStart }: LogPosition, skipTo = 0n): LogReader {
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
      keptEvents = 0;
      first = 0;
      floor = BigInt(revision);
      head = floor;
      cursor = floor;
      wake();
    },
    append(revision, batch) {
      head = BigInt(revision);
      cursor = number(batch.cursor);
      kept.push({ revision: head, cursor, batch });
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
    close() {
      closed = true;
      wake();
    },
    slowReaders: () => slowReaders,
  };
}

function number(cursor: string | null): bigint {
  return cursor === null ? 0n : BigInt(cursor);
}

function text(cursor: bigint): string | null {
  return cursor === 0n ? null : String(cursor);
}
