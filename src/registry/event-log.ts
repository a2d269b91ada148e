import type { Clock } from '../lib/clock.ts';
import type { RollEvent } from '../record/events.ts';
import type { NodeRecord } from '../record/record.ts';
import { type EventBatch, SlowReaderError } from './event-source.ts';

/**
 * The newest events of a process, kept once for all its readers. Each reader reads at its own pace. The log does not grow
 * with the number of readers: a reader that falls behind it is cut off.
 */
export interface EventLog {
  /** Starts over at the roll of `revision`: all readers need a new snapshot. */
  restart(revision: string): void;
  /** Adds the events of these revisions, in order. A revision without events says that nothing happened up to it. */
  append(batches: readonly RevisionEvents[]): void;
  /** The position of the next batch. */
  here(): LogPosition;
  /** A reader from this position; null: the log no longer has it, or started over since. */
  readFrom(position: LogPosition): LogReader | null;
  /** A reader of all events after `revision`, which may be ahead of the log; null: the log no longer has them all. */
  readAfter(revision: string): LogReader | null;
  /** Calls `changed` at each change of the log, and when it is closed, until the answer is disposed. */
  follow(changed: () => void): Disposable;
  followers(): number;
  /** What the log has now. */
  content(): LogContent;
  /** Ends all readers. */
  close(): void;
  /** Readers cut off so far. */
  slowReaders(): number;
}

export interface RevisionEvents {
  readonly revision: string;
  readonly events: readonly RollEvent[];
}

export interface LogContent {
  /** Newest first, each with its `atMs`. */
  readonly batches: readonly EventBatch[];
  /** When the log started over, ms since the epoch. */
  readonly begunAtMs: number;
  /** The log has all events that it got after this instant: later than `begunAtMs` once it has dropped some. */
  readonly sinceMs: number;
}

/** A position in the log; opaque outside of it. */
export interface LogPosition {
  readonly generation: number;
  readonly next: number;
  readonly revision: string;
}

export interface LogReader {
  /**
   * The next batch; null: none yet; `restarted`: the log started over, so this reader has ended; `end`: the log was closed.
   * @throws SlowReaderError when the log no longer has the next batch
   */
  take(): EventBatch | 'restarted' | 'end' | null;
  /** False when the log started over. It may be true where `take` throws. */
  isCurrent(): boolean;
}

/** How many events the log keeps, and how many bytes, besides those that were appended together with the oldest of them. */
const KEPT = 4_096;
/** Records of 2 kB reach the number first, those of the greatest size, 64 kB, the bytes: after 256 events. */
export const KEPT_BYTES = 32 * 1_024 * 1_024;

const recordBytes = new WeakMap<NodeRecord, number>();

/** About what keeping these records takes: the length of their JSON. */
export function estimateBytes(...records: readonly (NodeRecord | null | undefined)[]): number {
  let sum = 0;
  for (const record of records) {
    if (!record) continue;
    const bytes = recordBytes.get(record) ?? JSON.stringify(record).length;
    recordBytes.set(record, bytes);
    sum += bytes;
  }
  return sum;
}

/** Events in one batch for readers: a mass loss may have thousands. */
const PIECE_EVENTS = 64;

/** Cuts events into pieces that are quick to process. */
export function inPieces(events: readonly RollEvent[]): readonly (readonly RollEvent[])[] {
  return Array.from({ length: Math.ceil(events.length / PIECE_EVENTS) }, (_, n) =>
    events.slice(n * PIECE_EVENTS, (n + 1) * PIECE_EVENTS),
  );
}

interface Logged {
  readonly revision: bigint;
  /** The batch's cursor. */
  readonly cursor: bigint;
  readonly batch: EventBatch;
  /** How many events, and bytes, had been appended with the last of those that were appended together with this batch. */
  readonly count: number;
  readonly bytes: number;
}

export function createEventLog(clock: Pick<Clock, 'wallMs'>): EventLog {
  const followers = new Set<() => void>();
  let generation = 0;
  let kept: Logged[] = [];
  /** The index of the first kept batch, counted since the log started over. */
  let first = 0;
  /** Appended so far. */
  let [count, bytes] = [0, 0];
  /** The log has all events after this revision. */
  let floor = 0n;
  let [begunAtMs, sinceMs] = [0, 0];
  let head = 0n;
  let closed = false;
  let slowReaders = 0;

  function wake() {
    for (const changed of followers) changed();
  }

  /** Removes batches after which enough others were appended. One huge change must not cut off all readers. */
  function trim() {
    const end = kept.findIndex((logged) => count - logged.count < KEPT && bytes - logged.bytes < KEPT_BYTES);
    if (end <= 0) return;
    const last = kept[end - 1];
    floor = last?.revision ?? floor;
    sinceMs = last?.batch.atMs ?? sinceMs;
    first += end;
    kept.splice(0, end);
  }

  function createReader({ generation: own, next: from, revision }: LogPosition): LogReader {
    let next = from;
    let sent = BigInt(revision);
    /** The reader has the events up to this revision from another process, which is ahead of this one. */
    const skipTo = sent > head ? sent : 0n;
    let cutOff = false;

    const isCurrent = () => own === generation;

    function requireKept() {
      if (next >= first) return;
      if (!cutOff) slowReaders += 1;
      cutOff = true;
      throw new SlowReaderError(
        `events are read too slowly: only about the newest ${KEPT} are kept, fewer of large records; resume after revision ${sent}`,
      );
    }

    return {
      isCurrent,
      take() {
        if (closed) return 'end';
        if (!isCurrent()) return 'restarted';
        requireKept();
        for (let logged = kept[next - first]; logged; logged = kept[next - first]) {
          next += 1;
          if (logged.revision <= skipTo) continue;
          if (logged.cursor < sent) return { ...logged.batch, cursor: String(sent) };
          sent = logged.cursor;
          // The same object for all readers, so that its encoded text can be shared.
          return logged.batch;
        }
        if (head <= sent) return null;
        sent = head;
        return { events: [], cursor: String(sent) };
      },
    };
  }

  return {
    restart(revision) {
      generation += 1;
      [kept, first] = [[], 0];
      floor = BigInt(revision);
      head = floor;
      begunAtMs = clock.wallMs();
      sinceMs = begunAtMs;
      wake();
    },
    append(batches) {
      const atMs = clock.wallMs();
      for (const event of batches.flatMap(({ events }) => events)) {
        count += 1;
        bytes += 'after' in event ? estimateBytes(event.before?.record, event.after?.record) : 0;
      }
      for (const { revision: text, events } of batches) {
        const revision = BigInt(text);
        const pieces = inPieces(events);
        for (const [n, piece] of pieces.entries()) {
          // Only the last piece has the cursor of its revision.
          const cursor = n + 1 < pieces.length ? head : revision;
          kept.push({ revision, cursor, batch: { events: piece, cursor: String(cursor), atMs }, count, bytes });
        }
        head = revision;
      }
      trim();
      wake();
    },
    here: () => ({ generation, next: first + kept.length, revision: String(head) }),
    readFrom: (position) =>
      position.generation === generation && position.next >= first ? createReader(position) : null,
    readAfter(revision) {
      const sent = BigInt(revision);
      if (sent < floor) return null;
      const index = kept.findIndex((logged) => logged.revision > sent);
      return createReader({ generation, next: first + (index < 0 ? kept.length : index), revision });
    },
    follow(changed) {
      followers.add(changed);
      return { [Symbol.dispose]: () => void followers.delete(changed) };
    },
    followers: () => followers.size,
    content: () => ({ batches: kept.map(({ batch }) => batch).reverse(), begunAtMs, sinceMs }),
    close() {
      closed = true;
      wake();
    },
    slowReaders: () => slowReaders,
  };
}
