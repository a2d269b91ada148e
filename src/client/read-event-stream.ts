import { FieldError, field } from '../record/field.ts';
import { parseRevision, SlowReaderError } from '../registry/event-source.ts';
import type { Clock } from '../timing/clock.ts';
import { withDeadline } from '../timing/with-deadline.ts';
import { parseCloudEvent } from './parse-cloud-event.ts';
import type { CloudBatch } from './roll-source.ts';
import { createSseParser, type SseBlock } from './sse-parser.ts';

/** A `synced` names every node: 10,000 of them take 0.25 MB. */
const MAX_EVENT_CHARS = 8 * 1024 * 1024;

export interface EventStreamOptions {
  readonly clock: Clock;
  /** A stream without a byte for this long is broken, whatever its connection looks like. Agents send one each 10 s. */
  readonly silenceMs: number;
  /** What a message of an error begins with. */
  readonly action: string;
  readonly signal: AbortSignal;
}

/**
 * The batches of `/v1/events`, until the stream ends. Reads on only when the next batch is asked for.
 * @throws DeadlineError, SlowReaderError, FieldError and SseTooLargeError for what is no event, or what the body fails with
 */
export async function* readEventStream(
  body: AsyncIterable<Buffer>,
  options: EventStreamOptions,
): AsyncGenerator<CloudBatch, void, void> {
  const { clock, silenceMs, action, signal } = options;
  const parser = createSseParser(MAX_EVENT_CHARS);
  const chunks = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await withDeadline(clock, silenceMs, signal, action, () => chunks.next());
      if (next.done) return;
      for (const block of parser.push(next.value)) yield toBatch(block, action);
    }
  } finally {
    // Not awaited: the connection may be what hangs. Its end is nobody's news any more.
    chunks.return?.().catch(() => {});
  }
}

function toBatch({ type, data, id }: SseBlock, action: string): CloudBatch {
  if (type === 'error' && data !== null) throw new SlowReaderError(`${action}: ${errorDetail(data)}`);
  const event = data === null ? null : parseCloudEvent(data);
  const progress = id === null ? {} : { cursor: toCursor(id) };
  return { events: event ? [event] : [], ...progress };
}

/** An empty id withdraws the last one: a snapshot has begun. */
function toCursor(id: string): string | null {
  if (id === '') return null;
  const cursor = parseRevision(id);
  if (cursor !== undefined) return cursor;
  throw new FieldError(`id ${JSON.stringify(id.slice(0, 64))}: expected a revision`);
}

/** The agent ends a stream with an event that says why. */
function errorDetail(data: string): string {
  const { detail } = field.object(JSON.parse(data), 'error');
  return field.optionalText(detail, 'detail') ?? 'the agent ended the stream';
}
