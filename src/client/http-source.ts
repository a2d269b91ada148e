import { describeError, RollcallError } from '../errors.ts';
import { BodyTooLargeError, boundedRequest, boundedText } from '../net/bounded-request.ts';
import { type HttpPool, openHttpPool } from '../net/http-pool.ts';
import { FieldError } from '../record/field.ts';
import type { Clock } from '../timing/clock.ts';
import { DeadlineError, withDeadline } from '../timing/with-deadline.ts';
import { AgentError } from './agent-error.ts';
import { linkSignals } from './link-signals.ts';
import { parseRollList } from './parse-roll-list.ts';
import { readEventStream } from './read-event-stream.ts';
import { refusal } from './refusal.ts';
import type { RollSource, StreamRequest } from './roll-source.ts';
import { SseTooLargeError } from './sse-parser.ts';

/** 10,000 nodes take 12 MB. */
const MAX_LIST_BYTES = 128 * 1024 * 1024;
const MAX_PROBLEM_BYTES = 64 * 1024;
const CONNECT_TIMEOUT_MS = 5_000;
/** A stream answers once the agent knows the roll, which takes it up to 3 s, and looked at the store, up to 10 s. */
const STREAM_ANSWER_MS = 20_000;
const SILENCE_MS = 30_000;
/** Each watch holds one connection. */
const MAX_CONNECTIONS = 128;

/** Reads from an agent's HTTP port. @param origin such as `http://127.0.0.1:51690` */
export function openHttpSource(origin: string, clock: Clock): RollSource {
  const pool = openHttpPool(origin, { connections: MAX_CONNECTIONS, connectTimeoutMs: CONNECT_TIMEOUT_MS });
  return {
    label: origin,

    async list(query, signal) {
      const action = `list the roll at ${origin}`;
      const askedAtMs = clock.monotonicMs();
      try {
        const path = `/v1/containerInstances?${query}`;
        const answer = await boundedRequest(pool, { method: 'GET', path, maxBytes: MAX_LIST_BYTES, signal });
        if (answer.status !== 200) throw refusal(action, answer);
        const list = parseRollList(answer.text);
        // The age was true when the agent answered; the answer has aged on its way.
        return { ...list, ageMs: Math.ceil(list.ageMs + clock.monotonicMs() - askedAtMs) };
      } catch (error) {
        throw explained(action, error);
      }
    },

    async *stream(request, signal) {
      const action = `watch the roll at ${origin}`;
      const { controller, unlink } = linkSignals(signal);
      try {
        const body = await openStream(pool, request, action, clock, controller.signal);
        yield* readEventStream(body, { clock, silenceMs: SILENCE_MS, action, signal: controller.signal });
      } catch (error) {
        throw explained(action, error);
      } finally {
        unlink();
        controller.abort();
      }
    },

    close: () => pool.destroy(),
  };
}

async function openStream(
  pool: HttpPool,
  request: StreamRequest,
  action: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<AsyncIterable<Buffer>> {
  const path = `/v1/events?${streamQuery(request)}`;
  const headers = { accept: 'text/event-stream' };
  return withDeadline(clock, STREAM_ANSWER_MS, signal, action, async () => {
    // The request outlives this deadline, so it is `signal` that ends it.
    const response = await pool.request({ method: 'GET', path, headers, signal });
    const body = response.body as AsyncIterable<Buffer>;
    if (response.statusCode !== 200) {
      const text = await boundedText(body, MAX_PROBLEM_BYTES);
      throw refusal(action, { status: response.statusCode, headers: response.headers, text });
    }
    const type = String(response.headers['content-type']);
    if (type.startsWith('text/event-stream')) return body;
    throw new AgentError(`${action}: it answers with ${type}: name the URL of a rollcall agent`, { retryable: false });
  });
}

function streamQuery({ since, cluster, kinds }: StreamRequest): URLSearchParams {
  const query = new URLSearchParams();
  if (since !== null) query.set('since', since);
  for (const name of cluster ?? []) query.append('cluster', name);
  for (const kind of kinds ?? []) query.append('types', kind);
  return query;
}

/** What the caller may see: errors of ours as they are, the wire's as an `AgentError`. Whoever aborted knows it better. */
function explained(action: string, error: unknown): unknown {
  if (error instanceof RollcallError || error instanceof DeadlineError) return error;
  const isJunk =
    error instanceof FieldError ||
    error instanceof SyntaxError ||
    error instanceof BodyTooLargeError ||
    error instanceof SseTooLargeError;
  const text = isJunk ? `cannot read the answer: ${describeError(error)}` : describeError(error);
  return new AgentError(`${action}: ${text}`, { retryable: !isJunk, cause: error });
}
