import { describeError, RollcallError } from '../../errors.ts';
import { type EventSource, FutureRevisionError } from '../../registry/event-source.ts';
import type { Clock } from '../../timing/clock.ts';
import { DeadlineError } from '../../timing/with-deadline.ts';
import { createEventStream } from '../event-stream.ts';
import { createEventText, type EventText } from '../event-text.ts';
import { parseEventQuery } from '../parse-event-query.ts';
import { problem } from '../problem.ts';
import { unavailable } from '../read-roll.ts';
import type { Handler } from '../reply.ts';

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
    signal.addEventListener('abort', () => {
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
