import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RollEvent } from '../record/event.ts';
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
  readonly pieces: AsyncIterable<string | Uint8Array>;
  /** What to send when nothing happens: the newest cursor where it moved, else a comment. */
  heartbeat(): string;
}

type Taken = IteratorResult<EventBatch> | { readonly done: true; readonly error: unknown };

/** What is ready at the same time goes out in one write of about this many bytes. */
const MAX_PIECE_BYTES = 16_384;

let turn: Promise<void> | null = null;

/** Resolves when all that is ready in this turn of the loop has come: one timer for all streams. */
function turnEnd(): Promise<void> {
  turn ??= nextTurn().then(() => {
    turn = null;
  });
  return turn;
}

/**
 * Batches as Server-Sent Events (WHATWG HTML, section 9.2). Only the last event of a batch has an `id`, its cursor, so
 * that what a client sends as `Last-Event-ID` is always a revision it may resume after.
 */
export function createEventStream(options: EventStreamOptions): EventStream {
  const { batches, filter, retryMs } = options;
  const acceptsAll = filter.kinds === null && filter.cluster === null;
  // What the client has as its last event id once all that was made is sent; '' is none.
  let lastId = options.since ?? '';
  // The client does not have `lastId` yet.
  let idDue = false;
  // Events are made and not written yet: a cursor that overtook them would skip them if the connection broke then.
  let unwritten = false;

  function takeIdLine(): string {
    const line = idDue ? `id: ${lastId}\n` : '';
    idDue = false;
    return line;
  }

  function render({ events, cursor }: EventBatch, eventText: EventText): Buffer | null {
    // In a snapshot the old id is withdrawn: in a store that was restored from a backup it would be from the future.
    const id = cursor ?? '';
    if (id !== lastId) {
      lastId = id;
      idDue = true;
    }
    if (events.length === 0) return null;
    const told = acceptsAll ? events : filtered(events);
    if (told.length === 0) return null;
    // Before the first of them: whoever is cut off among them must not go on with the old one.
    if (idDue && lastId === '') return Buffer.concat([Buffer.from(`${takeIdLine()}\n`), eventText(told, '')]);
    return eventText(told, takeIdLine());
  }

  /** The same array where all are told as they are, because others read it as well. */
  function filtered(events: readonly RollEvent[]): readonly RollEvent[] {
    const told = events.map((event) => filterEvent(event, filter));
    if (told.every((event, index) => event === events[index])) return events;
    return told.filter((event) => event !== null);
  }

  async function* pieces(): AsyncGenerator<string | Uint8Array, void, undefined> {
    yield `retry: ${Math.round(retryMs)}\n\n`;
    const iterator = batches[Symbol.asyncIterator]();
    let arrived: Taken | null = null;
    const take = async () => {
      arrived = null;
      // An error as a value: nobody may be waiting for the batch at the moment at which it comes.
      arrived = await iterator.next().catch((error: unknown) => ({ done: true as const, error }));
      return arrived;
    };
    let coming = take();
    let eventText = await options.eventText();
    for (;;) {
      let taken: Taken | null = await coming;
      const rendered: Buffer[] = [];
      let sizeBytes = 0;
      while (taken && !taken.done) {
        if (taken.value.cursor === null) eventText = await options.eventText();
        const bytes = render(taken.value, eventText);
        if (bytes) {
          rendered.push(bytes);
          unwritten = true;
        }
        sizeBytes += bytes?.length ?? 0;
        coming = take();
        await turnEnd();
        taken = sizeBytes < MAX_PIECE_BYTES ? arrived : null;
      }
      if (rendered[0]) yield rendered.length === 1 ? rendered[0] : Buffer.concat(rendered);
      unwritten = false;
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

  return { pieces: pieces(), heartbeat: () => (idDue && !unwritten ? `${takeIdLine()}\n` : ':\n\n') };
}
