import { setImmediate as nextTurn } from 'node:timers/promises';
import { type EventFilter, filterEvent } from '../record/event-filter.ts';
import { type EventBatch, SlowReaderError } from '../registry/event-source.ts';
import type { EventText } from './event-text.ts';

export interface EventStreamOptions {
  readonly batches: AsyncIterable<EventBatch>;
  readonly filter: EventFilter;
  /** Asked before each snapshot: a store that was restored from a backup is another, and so are its events. */
  readonly eventText: () => Promise<EventText>;
  /** The revision the reader resumes after; null: it begins with a snapshot. */
  readonly since: string | null;
  /** How long the client is to wait before it connects again. */
  readonly retryMs: number;
}

export interface EventStream {
  readonly pieces: AsyncIterable<string>;
  /** What to send when nothing happens: the newest cursor where it moved, else a comment. */
  heartbeat(): string;
}

/** What is ready at the same time goes out in one write of about this many characters. */
const MAX_PIECE_CHARS = 16_384;

/**
 * Batches as Server-Sent Events (WHATWG HTML, section 9.2). Only the last event of a batch has an `id`, its cursor, so
 * that what a client sends as `Last-Event-ID` is always a revision it may resume after.
 */
export function createEventStream(options: EventStreamOptions): EventStream {
  const { batches, filter, retryMs } = options;
  // What the client has as its last event id once all that was made is sent; '' is none.
  let lastId = options.since ?? '';
  // The client does not have `lastId` yet.
  let idDue = false;

  function takeIdLine(): string {
    const line = idDue ? `id: ${lastId}\n` : '';
    idDue = false;
    return line;
  }

  function render({ events, cursor }: EventBatch, eventText: EventText): string {
    // In a snapshot the old id is withdrawn: in a store that was restored from a backup it would be from the future.
    const id = cursor ?? '';
    if (id !== lastId) {
      lastId = id;
      idDue = true;
    }
    const wanted = events.map((event) => filterEvent(event, filter)).filter((event) => event !== null);
    return wanted.length === 0 ? '' : `${wanted.map(eventText).join('\n')}${takeIdLine()}\n`;
  }

  async function* pieces(): AsyncGenerator<string, void, undefined> {
    yield `retry: ${Math.round(retryMs)}\n\n`;
    const iterator = batches[Symbol.asyncIterator]();
    // An error as a value: nobody may be waiting for the batch at the moment at which it comes.
    const take = () => iterator.next().catch((error: unknown) => ({ done: true as const, error }));
    let coming = take();
    let eventText = await options.eventText();
    for (;;) {
      let taken: Awaited<typeof coming> | null = await coming;
      const turn = nextTurn(null);
      let piece = '';
      while (taken && !taken.done) {
        if (taken.value.cursor === null) eventText = await options.eventText();
        piece += render(taken.value, eventText);
        coming = take();
        taken = piece.length < MAX_PIECE_CHARS ? await Promise.race([coming, turn]) : null;
      }
      if (piece !== '') yield piece;
      if (!taken) continue;
      if (!('error' in taken)) return;
      if (!(taken.error instanceof SlowReaderError)) throw taken.error;
      yield slowReaderText(taken.error);
      return;
    }
  }

  function slowReaderText(error: SlowReaderError): string {
    const told = { type: 'about:blank', title: 'Slow reader', detail: error.message, cursor: lastId || null };
    return `event: error\ndata: ${JSON.stringify(told)}\n${takeIdLine()}\n`;
  }

  return { pieces: pieces(), heartbeat: () => (idDue ? `${takeIdLine()}\n` : ':\n\n') };
}
