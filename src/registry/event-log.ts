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
  /** Ends all readers. */
  close(): void;
  /** Readers cut off so far. */
  slowReaders(): number;
}

export interface RevisionEvents {
  readonly revision: string;
  readonly events: readonly RollEvent[];
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
  /** False when the log started over. @throws SlowReaderError as `take` */
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
export const PIECE_EVENTS = 64;

interface Logged {
  readonly revision: bigint;
  /** The batch's cursor. */
  readonly cursor: bigint;
  readonly batch: EventBatch;
  /** How many events, and bytes, had been appended with the last of those that were appended together with this batch. */
  readonly count: number;
  readonly bytes: number;
}

interface LogState {
  generation: number;
  kept: Logged[];
  /** The index of the first kept batch, counted since the log started over. */
  first: number;
  /** Appended so far. */
  count: number;
  bytes: number;
  /** The log has all events after this revision. */
  floor: bigint;
  head: bigint;
  closed: boolean;
  slowReaders: number;
  readonly followers: Set<() => void>;
}

export function createEventLog(): EventLog {
  const log: LogState = {
    generation: 0,
    kept: [],
    first: 0,
    count: 0,
    bytes: 0,
    floor: 0n,
    head: 0n,
    closed: false,
    slowReaders: 0,
    followers: new Set(),
  };

  function wake() {
    for (const changed of log.followers) changed();
  }

  return {
    restart(revision) {
      const floor = BigInt(revision);
      Object.assign(log, { generation: log.generation + 1, kept: [], first: 0, floor, head: floor });
      wake();
    },
    append(batches) {
      for (const event of batches.flatMap(({ events }) => events)) {
        log.count += 1;
        log.bytes += 'after' in event ? estimateBytes(event.before?.record, event.after?.record) : 0;
      }
      const { count, bytes } = log;
      for (const { revision, events } of batches) {
        for (const piece of cutBatch(events, log.head, BigInt(revision))) log.kept.push({ ...piece, count, bytes });
        log.head = BigInt(revision);
      }
      trim(log);
      wake();
    },
    here: () => ({ generation: log.generation, next: log.first + log.kept.length, revision: String(log.head) }),
    readFrom: (position) =>
      position.generation === log.generation && position.next >= log.first ? createReader(log, position) : null,
    readAfter(revision) {
      const { generation, kept, first, floor } = log;
      const sent = BigInt(revision);
      if (sent < floor) return null;
      const index = kept.findIndex((logged) => logged.revision > sent);
      return createReader(log, { generation, next: first + (index < 0 ? kept.length : index), revision });
    },
    follow(changed) {
      log.followers.add(changed);
      return { [Symbol.dispose]: () => void log.followers.delete(changed) };
    },
    followers: () => log.followers.size,
    close() {
      log.closed = true;
      wake();
    },
    slowReaders: () => log.slowReaders,
  };
}

/** Removes batches after which enough others were appended. One huge change must not cut off all readers. */
function trim(log: LogState) {
  const { count, bytes, kept } = log;
  const end = kept.findIndex((logged) => count - logged.count < KEPT && bytes - logged.bytes < KEPT_BYTES);
  if (end <= 0) return;
  log.floor = kept[end - 1]?.revision ?? log.floor;
  log.first += end;
  kept.splice(0, end);
}

function createReader(log: LogState, { generation, next: from, revision }: LogPosition): LogReader {
  let next = from;
  let sent = BigInt(revision);
  /** The reader has the events up to this revision from another process, which is ahead of this one. */
  const skipTo = sent > log.head ? sent : 0n;
  let cutOff = false;

  function isCurrent(): boolean {
    if (generation !== log.generation) return false;
    if (next >= log.first) return true;
    if (!cutOff) log.slowReaders += 1;
    cutOff = true;
    throw new SlowReaderError(
      `events are read too slowly: only about the newest ${KEPT} are kept, fewer of large records; resume after revision ${sent}`,
    );
  }

  return {
    isCurrent,
    take() {
      if (log.closed) return 'end';
      if (!isCurrent()) return 'restarted';
      for (let logged = log.kept[next - log.first]; logged; logged = log.kept[next - log.first]) {
        next += 1;
        if (logged.revision <= skipTo) continue;
        if (logged.cursor < sent) return { events: logged.batch.events, cursor: String(sent) };
        sent = logged.cursor;
        // The same object for all readers, so that its encoded text can be shared.
        return logged.batch;
      }
      if (log.head <= sent) return null;
      sent = log.head;
      return { events: [], cursor: String(sent) };
    },
  };
}

/** Cuts the events of a revision into pieces that are quick to process. Only the last piece has its cursor. */
function cutBatch(
  events: readonly RollEvent[],
  before: bigint,
  revision: bigint,
): readonly Omit<Logged, 'count' | 'bytes'>[] {
  const pieces: Omit<Logged, 'count' | 'bytes'>[] = [];
  for (let from = 0; from < events.length; from += PIECE_EVENTS) {
    const cursor = from + PIECE_EVENTS >= events.length ? revision : before;
    const batch = { events: events.slice(from, from + PIECE_EVENTS), cursor: String(cursor) };
    pieces.push({ revision, cursor, batch });
  }
  return pieces;
}
