import type { RollEvent } from '../../record/event.ts';
import { type EventFilter, filterEvent } from '../../record/event-filter.ts';
import { type EventSource, FutureRevisionError, SlowReaderError } from '../../registry/event-source.ts';
import { StoreError } from '../../store/store-error.ts';
import type { StorePatience } from './store-patience.ts';

export interface Consumer {
  readonly source: EventSource;
  readonly since: string | null;
  readonly filter: EventFilter;
  /** Resolves when the events are finished; nothing more is pulled until then. */
  readonly deliver: (events: readonly RollEvent[]) => Promise<void>;
  /**
   * Everything up to `cursor` is finished; null: what was finished before is of no more use.
   * @param told false: nothing was delivered since the cursor before
   */
  readonly onFinished: (cursor: string | null, told: boolean) => void;
  readonly patience: Pick<StorePatience, 'whileAway'>;
  readonly signal: AbortSignal;
}

/**
 * Delivers all events in order, for ever; each at least once. A consumer that is slower than the fleet resumes after
 * what it has finished.
 * Rejects with `FutureRevisionError` when the store has not reached `since`, with what `deliver` rejects with, or with
 * the reason of `signal`.
 */
export async function consumeEvents(consumer: Consumer): Promise<never> {
  const { source, filter, deliver, onFinished, patience, signal } = consumer;
  let since = consumer.since;
  let begun = false;
  for (;;) {
    try {
      const batches = await patience.whileAway(() => source.events({ since, signal }));
      let told = false;
      let first = true;
      for await (const batch of batches) {
        begun = true;
        if (batch.events.some((event) => 'snapshot' in event && event.snapshot)) {
          // In mid-stream what was before it may be of another store: there is nothing to go on from until it is complete.
          // What a stream begins with answers `since`, by which a next one still knows who was there before a mass loss.
          if (since !== null && !first) onFinished(null, told);
          since = null;
        }
        first = false;
        const events = batch.events.map((event) => filterEvent(event, filter)).filter((event) => event !== null);
        if (events.length > 0) await deliver(events);
        told ||= events.length > 0;
        if (batch.cursor === null) continue;
        since = batch.cursor;
        onFinished(since, told);
        told = false;
      }
      signal.throwIfAborted();
      throw new StoreError('watch the roll: the events ended', { retryable: true });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof SlowReaderError) continue;
      if (!(begun && error instanceof FutureRevisionError)) throw error;
      // The store was restored from a backup while we were busy: what it says now is what is so.
      since = null;
    }
  }
}
