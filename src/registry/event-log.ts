import { abortable } from '../lib/abort.ts';
import { deferred } from '../lib/deferred.ts';
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
   * The next batch, as soon as there is one; `restarted`: the log started over, so this reader has ended; null: the log
   * was closed. Rejects with `SlowReaderError`, or with the reason of `signal`.
   */
  next(signal: AbortSignal): Promise<EventBatch | 'restarted' | null>;
  /** False when the log started over. @throws SlowReaderError when the log no longer has the next batch */
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

/** What a reader needs of the log. */
interface LogView {
  generation(): number;
  isClosed(): boolean;
  /** The index of the first kept batch, counted since the log started over. */
  first(): number;
  kept(index: number): Logged | undefined;
  head(): bigint;
  /** Resolves at the next change of the log. Rejects with the reason of `signal`. */
  changed(signal: AbortSignal): Promise<void>;
  onCutOff(): void;
}

export function createEventLog(): EventLog {
  let generation = 0;
  let kept: Logged[] = [];
  /** Appended so far. */
  let count = 0;
  let bytes = 0;
  let first = 0;
  /** The log has all events after this revision. */
  let floor = 0n;
  let head = 0n;
  let closed = false;
  let slowReaders = 0;
  const waiting = new Set<() => void>();

  function wake() {
    const woken = [...waiting];
    waiting.clear();
    for (const resume of woken) resume();
  }

  const view: LogView = {
    generation: () => generation,
    isClosed: () => closed,
    first: () => first,
    kept: (index) => kept[index - first],
    head: () => head,
    async changed(signal) {
      const { promise, resolve } = deferred<void>();
      waiting.add(resolve);
      try {
        await abortable(promise, signal);
      } finally {
        waiting.delete(resolve);
      }
    },
    onCutOff() {
      slowReaders += 1;
    },
  };

  /** Removes batches after which enough others were appended. One huge change must not cut off all readers. */
  function trim() {
    const end = kept.findIndex((logged) => count - logged.count < KEPT && bytes - logged.bytes < KEPT_BYTES);
    floor = kept[end - 1]?.revision ?? floor;
    first += Math.max(end, 0);
    if (end > 0) kept.splice(0, end);
  }

  return {
    restart(revision) {
      generation += 1;
      kept = [];
      first = 0;
      floor = BigInt(revision);
      head = floor;
      wake();
    },
    append(batches) {
      for (const { events } of batches) {
        count += events.length;
        for (const event of events)
          bytes += 'after' in event ? estimateBytes(event.before?.record, event.after?.record) : 0;
      }
      for (const { revision, events } of batches) {
        for (const piece of cutBatch(events, head, BigInt(revision))) kept.push({ ...piece, count, bytes });
        head = BigInt(revision);
      }
      trim();
      wake();
    },
    here: () => ({ generation, next: first + kept.length, revision: String(head) }),
    readFrom: (position) =>
      position.generation === generation && position.next >= first ? createReader(view, position) : null,
    readAfter(revision) {
      const sent = BigInt(revision);
      if (sent < floor) return null;
      const index = kept.findIndex((logged) => logged.revision > sent);
      return createReader(view, { generation, next: first + (index < 0 ? kept.length : index), revision });
    },
    close() {
      closed = true;
      wake();
    },
    slowReaders: () => slowReaders,
  };
}

function createReader(log: LogView, { generation, next: from, revision }: LogPosition): LogReader {
  let next = from;
  let sent = BigInt(revision);
  /** The reader has the events up to this revision from another process, which is ahead of this one. */
  const skipTo = sent > log.head() ? sent : 0n;
  let cutOff = false;

  function isCurrent(): boolean {
    if (generation !== log.generation()) return false;
    if (next >= log.first()) return true;
    if (!cutOff) log.onCutOff();
    cutOff = true;
    throw new SlowReaderError(
      `events are read too slowly: only about the newest ${KEPT} are kept, fewer of large records; resume after revision ${sent}`,
    );
  }

  function take(): EventBatch | null {
    for (let logged = log.kept(next); logged; logged = log.kept(next)) {
      next += 1;
      if (logged.revision <= skipTo) continue;
      if (logged.cursor < sent) return { events: logged.batch.events, cursor: String(sent) };
      sent = logged.cursor;
      // The same object for all readers, so that its encoded text can be shared.
      return logged.batch;
    }
    if (log.head() <= sent) return null;
    sent = log.head();
    return { events: [], cursor: String(sent) };
  }

  return {
    isCurrent,
    async next(signal) {
      for (;;) {
        signal.throwIfAborted();
        if (log.isClosed()) return null;
        if (!isCurrent()) return 'restarted';
        const batch = take();
        if (batch) return batch;
        await log.changed(signal);
      }
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
