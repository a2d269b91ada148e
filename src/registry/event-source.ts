import { RollcallError, UsageError } from '../lib/errors.ts';
import type { RollEvent } from '../record/events.ts';

/** A source of events: the registry implements it for `/v1/events`, `rollcall watch` and the client. */
export interface EventSource {
  /**
   * All events after `since`, in order and without end; each at least once, or covered by a new snapshot. Without
   * `since`, or if the store no longer has the changes after it, the stream starts with a snapshot and its `synced`. The
   * same happens mid-stream after a compaction and after the store was restored from a backup.
   * Rejects with `FutureRevisionError`, with `StoreError` when the store does not answer, or with `signal`'s reason.
   * The iteration throws `SlowReaderError`, and ends when the source is closed. Iterate it only once.
   */
  events(options: EventsOptions): Promise<AsyncIterable<EventBatch>>;
}

/** The same events taken one by one, for many readers in a process: to await each costs more than all else that it costs. */
export interface EventReader {
  /** The next batch; null: none yet; `end`: the source is closed. Throws what the iteration throws. */
  take(): EventBatch | 'end' | null;
  /** After a null: calls `ready` once, when `take` has to be called again; at once, if something came since. */
  whenReady(ready: () => void): void;
  /** The reader has left. The abort of its signal does the same. */
  close(): void;
}

export interface EventsOptions {
  /** The cursor of the last batch that was processed; null: start with a snapshot. */
  readonly since: string | null;
  readonly signal: AbortSignal;
}

/** Events that belong together: those of one revision, a part of a snapshot, or none with a newer cursor. */
export interface EventBatch {
  readonly events: readonly RollEvent[];
  /**
   * A reader that has processed this batch can resume after this revision: it has missed nothing up to there. null: none
   * yet, a snapshot is incomplete.
   */
  readonly cursor: string | null;
  /** When this process saw the events, ms since the epoch; absent: they are of a snapshot, or read from the store again. */
  readonly atMs?: number;
  /** The reader that resumed may have been sent these before: it may have ended before its cursor moved. */
  readonly isPast?: true;
}

const marked = new WeakMap<EventBatch, EventBatch>();

/** `batch` for a reader that may have been sent it before. */
export function markPast(batch: EventBatch): EventBatch {
  const copy: EventBatch = { ...batch, isPast: true };
  marked.set(copy, batch);
  return copy;
}

/** The batch that other readers get, so that what is made of it is shared. */
export function unmarked(batch: EventBatch): EventBatch {
  return marked.get(batch) ?? batch;
}

/** The reader took too long: its next events are no longer kept. Its last cursor is still valid. */
export class SlowReaderError extends RollcallError {
  override readonly name = 'SlowReaderError';
  override readonly retryable = true;
}

/** The revision to resume after is newer than the store: it is another store, or was restored from a backup. */
export class FutureRevisionError extends UsageError {
  override readonly name = 'FutureRevisionError';
  readonly since: string;
  readonly current: string;
  constructor(since: string, current: string) {
    super(
      `resume after revision ${since}: the store is at ${current}, so it is another store or was restored from a backup; leave the revision out to begin with a snapshot`,
    );
    this.since = since;
    this.current = current;
  }
}

/** The greatest revision a store can have: etcd's are 64 bits, signed. */
const MAX_REVISION = 2n ** 63n - 1n;

/** A revision as text without leading zeros; undefined for anything else. */
export function parseRevision(text: string): string | undefined {
  if (!/^\d{1,19}$/.test(text) || BigInt(text) > MAX_REVISION) return undefined;
  return String(BigInt(text));
}
