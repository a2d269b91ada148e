import { RollcallError, UsageError } from '../lib/errors.ts';
import type { RollEvent } from '../record/events.ts';

/** Where events come from: the registry, for `/v1/events`, `rollcall watch` and the client alike. */
export interface EventSource {
  /**
   * All events after `since`, in order and without end; each at least once, or covered by a new snapshot. Without
   * `since`, and where the store no longer has what came after it, it starts with a snapshot and its `synced`; the same
   * happens in mid-stream after a compaction and when the store was restored from a backup.
   * Rejects with `FutureRevisionError`, with a `StoreError` when the store does not answer, or by `signal`'s reason.
   * The iteration throws `SlowReaderError`, and ends when the source is closed. An iterable is read once.
   */
  events(options: EventsOptions): Promise<AsyncIterable<EventBatch>>;
}

export interface EventsOptions {
  /** The cursor of the last batch that was finished; null: start with a snapshot. */
  readonly since: string | null;
  readonly signal: AbortSignal;
}

/** What became known together: one revision's events, a piece of a snapshot, or nothing but a newer cursor. */
export interface EventBatch {
  readonly events: readonly RollEvent[];
  /**
   * Whoever has finished this batch may resume after this revision: nothing up to it is missing. It may lie behind the
   * events' own revision, while losses are held back. null: not yet, a snapshot is incomplete.
   */
  readonly cursor: string | null;
}

/** The reader took too long: what it has not read yet is no longer kept. Its last cursor is still good. */
export class SlowReaderError extends RollcallError {
  override readonly name = 'SlowReaderError';
  override readonly retryable = true;
}

/** Resuming after a revision that the store has not reached: it is another store, or one restored from a backup. */
export class FutureRevisionError extends UsageError {
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
