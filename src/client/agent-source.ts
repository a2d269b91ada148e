import { linkSignals } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { DeadlineError, withDeadline } from '../lib/deadline.ts';
import { BodyTooLargeError, describeError, isNoHttp, quote, RollcallError, UsageError } from '../lib/errors.ts';
import { FieldError, field } from '../record/codec.ts';
import { FutureRevisionError, parseRevision, SlowReaderError } from '../registry/event-source.ts';
import { createSseParser, type SseBlock, SseTooLargeError } from './sse.ts';
import { AgentError, type CloudBatch, OWN_URL, type RollSource, type StreamRequest } from './types.ts';
import { parseCloudEvent, parseRollList, UnreadableEventError } from './wire.ts';

/** How an agent is asked: by Node's own client or by `fetch`. */
export interface AgentTransport {
  /**
   * Resolves with the head of the answer to a GET, whatever its status; a redirect is not followed. Rejects with the error of
   * the connection, with an error of the caller's own, or with any once `signal` is aborted, which also ends the body.
   */
  get(path: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<AgentAnswer>;
  close(): Promise<void>;
}

/** The body is read once, one way or the other. */
export interface AgentAnswer {
  readonly status: number;
  /** @param name in lower case */
  header(name: string): string | null;
  /** Rejects with a `BodyTooLargeError`, or with the error of the connection. */
  text(maxBytes: number): Promise<string>;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** A `synced` event has the ids of all nodes: 0.25 MB for 10,000. */
const MAX_EVENT_CHARS = 8 * 1024 * 1024;

interface EventStreamOptions {
  readonly clock: Clock;
  /** A stream without data for this long counts as broken. Agents send data at least every 10 s. */
  readonly silenceMs: number;
  /** The start of each error message. */
  readonly action: string;
  readonly signal: AbortSignal;
}

/**
 * Reads the batches of `/v1/events` until the stream ends, after an empty one for its first bytes, which an agent sends at
 * once. Reads the next batch only when the caller asks for it.
 * @throws DeadlineError, SlowReaderError, FieldError or SseTooLargeError for invalid data, or the error of the body
 */
async function* readEventStream(
  body: AsyncIterable<Uint8Array>,
  options: EventStreamOptions,
): AsyncGenerator<CloudBatch, void, void> {
  const { clock, silenceMs, action, signal } = options;
  const parser = createSseParser(MAX_EVENT_CHARS);
  const chunks = body[Symbol.asyncIterator]();
  try {
    for (let isFirst = true; ; isFirst = false) {
      const next = await withDeadline(clock, silenceMs, signal, action, () => chunks.next());
      if (next.done) return;
      if (isFirst) yield { events: [] };
      for (const block of parser.push(next.value)) yield batchOfBlock(block, action);
    }
  } finally {
    // Not awaited, because the connection may hang. Its errors no longer matter.
    chunks.return?.().catch(() => {});
  }
}

function batchOfBlock({ type, data, id }: SseBlock, action: string): CloudBatch {
  if (type === 'error' && data !== null) throw new SlowReaderError(`${action}: ${errorDetail(data)}`);
  const progress = id === null ? {} : { cursor: toCursor(id) };
  try {
    const event = data === null ? null : parseCloudEvent(data);
    return { events: event ? [event] : [], ...progress };
  } catch (error) {
    // As in a list: one node must not keep the reader from all others, at each of its retries.
    if (error instanceof UnreadableEventError) return { events: [], skipped: error.skipped, ...progress };
    throw error;
  }
}

/** An empty id clears the cursor, because a snapshot has started. */
function toCursor(id: string): string | null {
  if (id === '') return null;
  const cursor = parseRevision(id);
  if (cursor !== undefined) return cursor;
  throw new FieldError(`id ${quote(id)}: expected a revision`);
}

/** The detail of the `error` event with which the agent ended the stream. */
function errorDetail(data: string): string {
  const { detail } = field.object(JSON.parse(data), 'error');
  return describeError(field.optionalText(detail, 'detail') ?? 'the agent ended the stream');
}

/** The limit of a `Retry-After` that is respected. */
const MAX_RETRY_AFTER_MS = 30_000;
/** Statuses after which a retry may succeed: timeout, too early, too many requests. So may any 5xx. */
const PASSING = [408, 425, 429];

/** The error for an answer other than 200, with the `detail` of its problem body (RFC 9457). */
async function refusedError(action: string, answer: AgentAnswer): Promise<AgentError | FutureRevisionError> {
  const { status } = answer;
  const problem = problemOf(await answer.text(MAX_PROBLEM_BYTES));
  const { since, current } = problem;
  if (status === 400 && isRevision(since) && isRevision(current)) return new FutureRevisionError(since, current);
  const retryable = status >= 500 || PASSING.includes(status);
  return new AgentError(`${action}: HTTP ${status}${refusal(status, problem['detail'], retryable)}`, {
    status,
    retryable,
    retryAfterMs: retryAfterHeaderMs(answer.header('retry-after')),
  });
}

function refusal(status: number, detail: unknown, retryable: boolean): string {
  // One printable line: what answers may be any server, and the message goes to terminals and logs.
  if (typeof detail === 'string') return `: ${describeError(detail)}`;
  if (status >= 300 && status < 400) return `, a redirect, which is not followed; ${OWN_URL}`;
  return retryable ? '' : `; ${OWN_URL}`;
}

function problemOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
  } catch {
    return {};
  }
}

function isRevision(value: unknown): value is string {
  return typeof value === 'string' && parseRevision(value) !== undefined;
}

/** Parses the header's seconds. Agents do not send the form with a date. */
function retryAfterHeaderMs(header: string | null): number {
  return /^\d{1,6}$/.test(header ?? '') ? Math.min(Number(header) * 1_000, MAX_RETRY_AFTER_MS) : 0;
}

/** 10,000 nodes are 12 MB. */
const MAX_LIST_BYTES = 128 * 1024 * 1024;
const MAX_PROBLEM_BYTES = 64 * 1024;
/** The agent answers a stream after it has read the roll (up to 3 s) and the store's id (up to 10 s). */
const STREAM_ANSWER_MS = 20_000;
const SILENCE_MS = 30_000;

/** An agent: the source of a client, and whatever else it answers. */
export interface AgentSource extends RollSource {
  /**
   * The answer at `path`, parsed by `parse`, which may throw `FieldError` or `SyntaxError`. Rejects with an `AgentError`.
   * @param action the start of each error message
   */
  read<T>(path: string, action: string, signal: AbortSignal, parse: (text: string) => T): Promise<T>;
}

/** Reads from an agent's HTTP port. @param origin such as `http://127.0.0.1:51690` */
export function createAgentSource(origin: string, clock: Clock, transport: AgentTransport): AgentSource {
  const read: AgentSource['read'] = async (path, action, signal, parse) => {
    try {
      const answer = await transport.get(path, {}, signal);
      if (answer.status !== 200) throw await refusedError(action, answer);
      return parse(await answer.text(MAX_LIST_BYTES));
    } catch (error) {
      throw publicError(action, error);
    }
  };

  return {
    label: origin,
    read,

    async list(query, signal) {
      const askedAtMs = clock.monotonicMs();
      const path = `/v1/containerInstances?${query}`;
      const list = await read(path, `list the roll at ${origin}`, signal, parseRollList);
      // Add the time of the request, because the age is that at the agent's answer.
      return { ...list, ageMs: Math.ceil(list.ageMs + clock.monotonicMs() - askedAtMs) };
    },

    async *stream(request, signal) {
      const action = `watch the roll at ${origin}`;
      using ending = linkSignals(signal);
      try {
        const body = await openHoldingStream(transport, request, action, clock, ending.signal);
        yield* readEventStream(body, { clock, silenceMs: SILENCE_MS, action, signal: ending.signal });
      } catch (error) {
        throw publicError(action, error);
      } finally {
        ending.abort();
      }
    },

    close: () => transport.close(),
  };
}

/** An older agent does not know `uncertain=hold`, and holds uncertain losses back in every stream. */
async function openHoldingStream(...given: Parameters<typeof openStream>): ReturnType<typeof openStream> {
  const [transport, request, ...rest] = given;
  try {
    return await openStream(transport, request, ...rest);
  } catch (error) {
    const isOld =
      error instanceof AgentError && error.status === 400 && /unknown parameter "uncertain"/.test(error.message);
    if (!isOld) throw error;
    return await openStream(transport, { ...request, hold: false }, ...rest);
  }
}

async function openStream(
  transport: AgentTransport,
  request: StreamRequest,
  action: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const path = `/v1/events?${streamQuery(request)}`;
  const headers = { accept: 'text/event-stream' };
  return withDeadline(clock, STREAM_ANSWER_MS, signal, action, async () => {
    // Not the deadline's signal, because the stream lasts longer than the deadline.
    const answer = await transport.get(path, headers, signal);
    if (answer.status !== 200) throw await refusedError(action, answer);
    const type = answer.header('content-type') ?? 'none';
    if (type.startsWith('text/event-stream')) return answer.chunks;
    throw new AgentError(`${action}: the answer has content type ${quote(type)}; ${OWN_URL}`, { retryable: false });
  });
}

function streamQuery({ since, nodes, kinds, hold }: StreamRequest): URLSearchParams {
  const query = new URLSearchParams(hold ? { uncertain: 'hold' } : {});
  if (since !== null) query.set('since', since);
  for (const [name, texts] of Object.entries(nodes)) for (const text of texts ?? []) query.append(name, text);
  for (const kind of kinds ?? []) query.append('types', kind);
  return query;
}

/** Wraps errors of the connection and the parser in an `AgentError`; other errors are returned as they are. */
function publicError(action: string, error: unknown): unknown {
  if (error instanceof RollcallError || error instanceof DeadlineError) return error;
  const isJunk =
    error instanceof FieldError ||
    error instanceof SyntaxError ||
    error instanceof BodyTooLargeError ||
    error instanceof SseTooLargeError ||
    isNoHttp(error);
  const code = String((error as { code?: unknown } | null)?.code);
  if (NO_TLS.includes(code)) {
    // Without its cause: OpenSSL's text names lines of its source.
    return new AgentError(`${action}: the port does not speak TLS; use http://`, { retryable: true });
  }
  const cause = describeError(error);
  const what = isJunk ? `cannot read the answer: ${cause}; ${OWN_URL}` : cause + adviceOn(code, cause);
  return new AgentError(`${action}: ${what}`, { retryable: !isJunk, cause: error });
}

function adviceOn(code: string, cause: string): string {
  if (code.startsWith('ERR_OSSL_')) return '; check the files of the certificate, its key and the authority';
  // Node's own client: the connection was closed before any answer.
  if (cause === 'socket hang up') return '; if the port speaks TLS, use https://';
  return Object.hasOwn(ADVICE, code) ? `; ${ADVICE[code]}` : '';
}

const NO_TLS = ['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER'];
const CHECK_ADDRESS = 'check the address, and that no firewall is between';
const TRUST = 'trust its authority with --agent-ca-file, caFile or NODE_EXTRA_CA_CERTS';

/** The next step by the code of the error, from Node's own client and from `fetch`. */
const ADVICE: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'check that an agent listens there',
  ENOTFOUND: 'check the name of the host',
  EAI_AGAIN: 'check the name of the host',
  EHOSTUNREACH: CHECK_ADDRESS,
  ENETUNREACH: CHECK_ADDRESS,
  ETIMEDOUT: CHECK_ADDRESS,
  CONNECT_TIMEOUT: CHECK_ADDRESS,
  UND_ERR_CONNECT_TIMEOUT: CHECK_ADDRESS,
  DEPTH_ZERO_SELF_SIGNED_CERT: TRUST,
  SELF_SIGNED_CERT_IN_CHAIN: TRUST,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: TRUST,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: TRUST,
  ERR_TLS_CERT_ALTNAME_INVALID: 'use a name that is in its certificate',
};

/**
 * The URL as text; a `URL` is one, too. The error names what is missing, as of a variable that is not set.
 * @throws UsageError
 */
export function requireUrl(url: unknown): string {
  if (typeof url === 'string' || url instanceof URL) return String(url);
  throw new UsageError(`the URL is ${quote(url ?? undefined)}: expected a text, such as http://127.0.0.1:51690`);
}

/** @throws UsageError */
export function parseOrigin(url: string): string {
  const parsed = urlOf(url);
  // Agents have no users. A path or query would be ignored, so it is refused.
  if (parsed && /^https?:$/.test(parsed.protocol) && parsed.href === `${parsed.origin}/`) return parsed.origin;
  throw new UsageError(
    `cannot read the agent URL "${shownUrl(url)}": use http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:51690`,
  );
}

/** Not by `URL.canParse`, which Safari has since version 17 and Chrome since 120. */
function urlOf(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** Without what may be a password. */
export function shownUrl(url: string): string {
  return url.replace(/\/\/.*@/s, '//***@');
}
