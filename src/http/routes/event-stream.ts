import { onAbort } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import { DeadlineError } from '../../lib/deadline.ts';
import { describeError, RollcallError } from '../../lib/errors.ts';
import { acceptsAllEvents, cloudEvent, type EventFilter, filterEvent } from '../../record/cloud-event.ts';
import type { RollEvent } from '../../record/events.ts';
import {
  type EventBatch,
  type EventReader,
  type EventsOptions,
  FutureRevisionError,
  SlowReaderError,
} from '../../registry/event-source.ts';
import { createHold } from '../../registry/hold.ts';
import { parseEventQuery } from '../query.ts';
import { type Handler, problem } from '../reply.ts';
import { unavailable } from './roll-routes.ts';

/** A source of events that knows the id of its store. */
export interface EventFeed {
  reader(options: EventsOptions): Promise<EventReader>;
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
/** Clients reconnect after 1 to 3 s, so that not all do at once after a restart of this agent. */
const RETRY_MS = { least: 1_000, spread: 2_000 };

/** The events of the roll, as Server-Sent Events; see `createEventStream`. */
export function events({ feed, clock, random, maxReaders = 1_000 }: EventsRouteOptions): Handler {
  let readers = 0;
  // Shared by all readers of one store.
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
      return unavailable(`all ${maxReaders} event readers of this agent are in use; use another agent`, path);
    }
    const { since, filter, hold } = parsed.value;
    readers += 1;
    onAbort(signal, () => {
      readers -= 1;
    });
    try {
      const reader = await feed.reader({ since, signal });
      const eventText = await currentText(signal);
      const retryMs = RETRY_MS.least + RETRY_MS.spread * random();
      const { pieces, heartbeat } = createEventStream({
        reader,
        hold: hold ? createHold() : (batch) => batch,
        filter,
        // While the store does not answer, an open stream keeps the old store id.
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
      // A store outage, or the agent is stopping.
      if (error instanceof RollcallError || error instanceof DeadlineError)
        return unavailable(describeError(error), path);
      throw error;
    }
  };
}

interface EventStreamOptions {
  readonly reader: EventReader;
  /** What of a batch to send now; null: nothing. */
  readonly hold: (batch: EventBatch) => EventBatch | null;
  readonly filter: EventFilter;
  /** Called before each snapshot, because a store restored from a backup has another id, which is in the events. */
  readonly eventText: () => Promise<EventText>;
  /** The revision after which the reader resumes; null: start with a snapshot. */
  readonly since: string | null;
  /** How long the client waits before it reconnects. */
  readonly retryMs: number;
}

interface EventStream {
  readonly pieces: AsyncIterable<string | Uint8Array>;
  /** The text to send while there are no events: the new cursor if it has moved, else a comment. */
  heartbeat(): string;
}

/** Batches that are ready at the same time are sent in one write of about this size. */
const MAX_PIECE_BYTES = 16_384;
/** In a turn of the event loop, for a reader whose filter accepts few events. */
const MAX_BATCHES = 64;

let due: (() => void)[] = [];

/** Calls `resume` after this turn of the event loop, when all batches of this turn have arrived. All streams share one timer. */
function atTurnEnd(resume: () => void) {
  if (due.length === 0) {
    setImmediate(() => {
      const resumed = due;
      due = [];
      for (const each of resumed) each();
    });
  }
  due.push(resume);
}

/**
 * Sends batches as Server-Sent Events (WHATWG HTML, section 9.2). Only the last event of a batch has an `id`, the batch's
 * cursor, so that a client's `Last-Event-ID` is always a revision after which it can resume.
 */
export function createEventStream(options: EventStreamOptions): EventStream {
  const { reader, hold, filter, retryMs } = options;
  const acceptsAll = acceptsAllEvents(filter);
  // The client's last event id after all rendered data is sent; '' is none.
  let lastId = options.since ?? '';
  // True once the stream has a cursor of its own.
  let settled = false;
  // True while `lastId` is not sent yet.
  let idDue = false;
  // True while rendered events are not written yet. A cursor sent before them would skip them if the connection broke.
  let unwritten = false;

  function takeIdLine(): string {
    const line = idDue ? `id: ${lastId}\n` : '';
    idDue = false;
    return line;
  }

  function render({ events, cursor, atMs }: EventBatch, eventText: EventText): Buffer | null {
    // A snapshot in mid-stream clears the id, because the old one may be ahead of a store that was restored from a backup.
    // One at the start keeps it: a client that is cut off in it asks again after its old id, without which the next snapshot
    // cannot tell a mass loss.
    const id = cursor ?? (settled ? '' : lastId);
    // The client must know, too, that the stream has a cursor: it does not obey an empty id before.
    const settles = !settled && cursor !== null;
    settled ||= settles;
    if (id !== lastId || settles) {
      lastId = id;
      idDue = true;
    }
    const accepted = acceptsAll ? events : filtered(events);
    if (accepted.length === 0) return settles ? Buffer.from(`${takeIdLine()}\n`) : null;
    // Clear the id before the first event, so that a client that is cut off in the snapshot does not resume after the old id.
    if (idDue && lastId === '') return Buffer.concat([Buffer.from(`${takeIdLine()}\n`), eventText(accepted, '', atMs)]);
    return eventText(accepted, takeIdLine(), atMs);
  }

  /** Returns the same array if nothing is filtered, so that `eventText` finds its bytes for all readers. */
  function filtered(events: readonly RollEvent[]): readonly RollEvent[] {
    const accepted = events.map((event) => filterEvent(event, filter));
    if (accepted.every((event, index) => event === events[index])) return events;
    return accepted.filter((event) => event !== null);
  }

  async function* pieces(): AsyncGenerator<string | Uint8Array, void, undefined> {
    yield `retry: ${Math.round(retryMs)}\n\n`;
    let eventText = await options.eventText();
    for (;;) {
      const rendered: Buffer[] = [];
      let sizeBytes = 0;
      let batch: ReturnType<EventReader['take']> = null;
      try {
        for (let taken = 0; taken < MAX_BATCHES && sizeBytes < MAX_PIECE_BYTES; taken += 1) {
          batch = reader.take();
          if (batch === null || batch === 'end') break;
          const sent = hold(batch);
          if (sent?.cursor === null) eventText = await options.eventText();
          const bytes = sent && render(sent, eventText);
          if (!bytes) continue;
          unwritten = true;
          rendered.push(bytes);
          sizeBytes += bytes.length;
        }
      } catch (error) {
        if (!(error instanceof SlowReaderError)) throw error;
        rendered.push(Buffer.from(slowReaderText(error)));
        batch = 'end';
      }
      if (rendered[0]) yield rendered.length === 1 ? rendered[0] : Buffer.concat(rendered);
      unwritten = false;
      if (batch === 'end') return;
      await new Promise<void>((resolve) => {
        if (batch) atTurnEnd(resolve);
        else reader.whenReady(() => atTurnEnd(resolve));
      });
    }
  }

  function slowReaderText(error: SlowReaderError): string {
    const reason = { type: 'about:blank', title: 'Slow reader', detail: error.message, cursor: lastId || null };
    return `event: error\ndata: ${JSON.stringify(reason)}\n${takeIdLine()}\n`;
  }

  return { pieces: pieces(), heartbeat: () => (idDue && !unwritten ? `${takeIdLine()}\n` : ':\n\n') };
}

/**
 * Renders events for an event stream.
 * @param idLine the id line of the last event, with its line end; '': none @param atMs as that of their batch
 */
type EventText = (events: readonly RollEvent[], idLine: string, atMs?: number) => Buffer;

/** Number of batches whose bytes are kept, for the readers that are up to date. */
const RECENT = 16;

/**
 * Serializes each event once for all readers, because with 1,000 readers the JSON, and a copy per socket, would take most of
 * the time. An event that has no time of its own gets that of its first reader. A text lives as long as its event.
 */
export function createEventText(storeId: string, clock: Pick<Clock, 'wallMs'>): EventText {
  const texts = new WeakMap<RollEvent, string>();
  const recent = new Map<readonly RollEvent[], { readonly idLine: string; readonly bytes: Buffer }>();

  function textOf(event: RollEvent, atMs: number | undefined): string {
    const known = texts.get(event);
    if (known !== undefined) return known;
    const sent = cloudEvent(event, storeId, atMs ?? clock.wallMs());
    // JSON.stringify adds no line breaks, so the data is one line.
    const text = `event: ${sent.type}\ndata: ${JSON.stringify(sent)}\n`;
    texts.set(event, text);
    return text;
  }

  return (events, idLine, atMs) => {
    const known = recent.get(events);
    if (known?.idLine === idLine) return known.bytes;
    const bytes = Buffer.from(`${events.map((event) => textOf(event, atMs)).join('\n')}${idLine}\n`);
    recent.set(events, { idLine, bytes });
    for (const oldest of recent.keys()) {
      if (recent.size <= RECENT) break;
      recent.delete(oldest);
    }
    return bytes;
  };
}
