import { setImmediate as nextTurn } from 'node:timers/promises';
import { onAbort } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import { DeadlineError } from '../../lib/deadline.ts';
import { describeError, RollcallError } from '../../lib/errors.ts';
import { cloudEvent, type EventFilter, filterEvent } from '../../record/cloud-event.ts';
import type { RollEvent } from '../../record/events.ts';
import {
  type EventBatch,
  type EventSource,
  FutureRevisionError,
  SlowReaderError,
} from '../../registry/event-source.ts';
import { parseEventQuery } from '../query.ts';
import { type Handler, problem } from '../reply.ts';
import { unavailable } from './roll.ts';

/** Events as they stand in an event stream. @param idLine of the last of them, with its line end; '' for none */
export type EventText = (events: readonly RollEvent[], idLine: string) => Buffer;

/** Batches whose bytes are kept: those that the readers who keep up are reading now. */
const RECENT = 16;

/**
 * Writes each event once, however many read it: with 1,000 readers its JSON would cost more than all else, and next to
 * it a copy for each socket. Its `time` is then that of the first who did. The texts live as long as their events.
 */
export function createEventText(storeId: string, clock: Pick<Clock, 'wallMs'>): EventText {
  const texts = new WeakMap<RollEvent, string>();
  const recent = new Map<readonly RollEvent[], { readonly idLine: string; readonly bytes: Buffer }>();

  function textOf(event: RollEvent): string {
    const known = texts.get(event);
    if (known !== undefined) return known;
    const told = cloudEvent(event, storeId, clock.wallMs());
    // JSON has no line ends of its own, so that the data is one line.
    const text = `event: ${told.type}\ndata: ${JSON.stringify(told)}\n`;
    texts.set(event, text);
    return text;
  }

  return (events, idLine) => {
    const known = recent.get(events);
    if (known?.idLine === idLine) return known.bytes;
    const bytes = Buffer.from(`${events.map(textOf).join('\n')}${idLine}\n`);
    recent.set(events, { idLine, bytes });
    for (const oldest of recent.keys()) {
      if (recent.size <= RECENT) break;
      recent.delete(oldest);
    }
    return bytes;
  };
}

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

/** Where the events of a store come from, and which store that is. */
export interface EventFeed extends EventSource {
  storeId(signal: AbortSignal): Promise<string>;
}

export interface EventsRouteOptions {
  readonly feed: EventFeed;
  readonly clock: Pick<Clock, 'wallMs'>;
  readonly random: () => number;
  /** Default 1,000. */
  readonly maxReaders?: number;
}

const CONTENT_TYPE = 'text/event-stream';
/** Clients connect again after one to three seconds: not all at once when this agent was restarted. */
const RETRY_MS = { least: 1_000, spread: 2_000 };

/** What happens on the roll, as Server-Sent Events; see `createEventStream`. */
export function events({ feed, clock, random, maxReaders = 1_000 }: EventsRouteOptions): Handler {
  let readers = 0;
  // One for all readers of a store.
  let texts: { readonly storeId: string; readonly eventText: EventText } | null = null;

  async function currentText(signal: AbortSignal): Promise<EventText> {
    const storeId = await feed.storeId(signal);
    if (texts?.storeId !== storeId) texts = { storeId, eventText: createEventText(storeId, clock) };
    return texts.eventText;
  }

  return async ({ method, path, query, headers, signal }) => {
    const parsed = parseEventQuery(query, headers['last-event-id']?.toString());
    if (!parsed.ok) return problem(400, parsed.detail, { instance: path });
    if (method === 'HEAD') return { status: 200, contentType: CONTENT_TYPE, body: [] };
    if (readers >= maxReaders) {
      return unavailable(`${maxReaders} readers follow the events here, and no more can; ask another agent`, path);
    }
    const { since, filter } = parsed.value;
    readers += 1;
    onAbort(signal, () => {
      readers -= 1;
    });
    try {
      const batches = await feed.events({ since, signal });
      const eventText = await currentText(signal);
      const retryMs = RETRY_MS.least + RETRY_MS.spread * random();
      const { pieces, heartbeat } = createEventStream({
        batches,
        filter,
        // A stream that is open says at worst the old name, until the store answers again.
        eventText: () => currentText(signal).catch(() => eventText),
        since,
        retryMs,
      });
      return { status: 200, contentType: CONTENT_TYPE, body: pieces, heartbeat };
    } catch (error) {
      if (error instanceof FutureRevisionError) {
        const { since: asked, current } = error;
        return problem(400, describeError(error), { instance: path, extension: { since: asked, current } });
      }
      // Not only where the store is away: also when this agent is stopping.
      if (error instanceof RollcallError || error instanceof DeadlineError)
        return unavailable(describeError(error), path);
      throw error;
    }
  };
}
