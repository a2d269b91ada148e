import type { EventFeed } from '../../src/http/routes/event-stream.ts';
import type { EventBatch, EventReader, EventsOptions } from '../../src/registry/event-source.ts';

/** A source of events in which the test sends batches to all current readers. */
export interface FakeFeed extends EventFeed {
  tell(batch: EventBatch): void;
  /** Sends a batch to the readers. */
  fail(error: unknown): void;
  /** Ends the readers' streams. */
  end(): void;
  /** The error for the next readers; null: none. */
  refusal: unknown;
  readonly asked: EventsOptions[];
  /** Readers whose signal has not aborted. */
  readers(): number;
  /** Batches that the readers have not read yet. */
  untaken(): number;
}

type Told = { readonly batch: EventBatch } | { readonly error: unknown } | 'end';

interface Reader {
  readonly queue: Told[];
  wake: () => void;
}

export function fakeFeed(): FakeFeed {
  const readers = new Set<Reader>();
  const asked: EventsOptions[] = [];
  const give = (told: Told) => {
    for (const reader of readers) {
      reader.queue.push(told);
      reader.wake();
    }
  };

  const read = (reader: Reader, signal: AbortSignal): EventReader => ({
    take() {
      signal.throwIfAborted();
      const told = reader.queue.shift() ?? null;
      if (told === null || told === 'end') return told;
      if ('error' in told) throw told.error;
      return told.batch;
    },
    whenReady(ready) {
      reader.wake = ready;
    },
    close() {},
  });

  return {
    asked,
    refusal: null,
    storeId: async () => 'store-a',
    async reader(options) {
      asked.push(options);
      if (this.refusal) throw this.refusal;
      const { signal } = options;
      const reader: Reader = { queue: [], wake: () => {} };
      readers.add(reader);
      signal.addEventListener('abort', () => {
        readers.delete(reader);
        reader.wake();
      });
      return read(reader, signal);
    },
    tell: (batch) => give({ batch }),
    fail: (error) => give({ error }),
    end: () => give('end'),
    readers: () => readers.size,
    untaken: () => [...readers].reduce((sum, reader) => sum + reader.queue.length, 0),
  };
}
