import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../lib/clock.ts';

/** A request, as a route sees it. */
export interface RouteRequest {
  readonly method: 'GET' | 'HEAD';
  /** As in the request, without the query. */
  readonly path: string;
  readonly params: Readonly<Record<string, string | undefined>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** The local port that received the request. */
  readonly port: number;
  /** Aborts when the client disconnects, and for a stream also when the server closes. */
  readonly signal: AbortSignal;
}

export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Pieces are read one by one, as fast as the client reads them. For a HEAD request none is read. */
  readonly body: string | Uint8Array | Pieces;
  /**
   * Makes the reply a stream, which lasts until the client disconnects or the server closes. Returns a text that keeps the
   * connection open. Called three times within the limit for idle connections, but not while the client has unread data.
   * The pieces of a stream must themselves yield to the event loop from time to time.
   */
  readonly heartbeat?: () => string;
}

type Pieces = Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

/** Answers GET and HEAD. An error becomes a 500 without details, and is passed to `onError`. */
export type Handler = (request: RouteRequest) => Reply | Promise<Reply>;

/** Handlers by path; a path may have parameters, as in `/v1/containerInstances/:id`. */
export type Routes = Readonly<Record<string, Handler>>;

export function jsonReply(value: unknown): Reply {
  return { status: 200, contentType: 'application/json', body: `${JSON.stringify(value)}\n` };
}

/** @param host an address without brackets, or a name */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}

interface ProblemOptions {
  /** The path of the request. */
  readonly instance?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Additional members of the problem. */
  readonly extension?: Readonly<Record<string, unknown>>;
}

/**
 * An RFC 9457 problem. `type` is `about:blank`, so the status is the kind of the problem. `detail` has the cause, with the
 * value and what is allowed.
 */
export function problem(status: number, detail: string, options: ProblemOptions = {}): Reply {
  const { instance, headers = {}, extension = {} } = options;
  const title = STATUS_CODES[status] ?? 'Unknown';
  const body = { type: 'about:blank', title, status, detail, ...(instance === undefined ? {} : { instance }) };
  return {
    status,
    contentType: 'application/problem+json',
    headers,
    body: `${JSON.stringify({ ...body, ...extension })}\n`,
  };
}

const LINE_END = Buffer.from('\r\n');
/** Chunks by their content, because many readers get the same bytes. */
const framed = new WeakMap<Uint8Array, Buffer>();

/**
 * Writes the pieces of a stream, as fast as the client reads. Writes chunks directly to the socket, because
 * `response.write` takes three times as long: 20 ms for each event with 1,000 readers on one agent.
 */
export async function writeStream(res: ServerResponse, pieces: Pieces, signal: AbortSignal): Promise<void> {
  // The headers must be sent before the first write to the socket.
  res.flushHeaders();
  const { socket } = res;
  for await (const piece of pieces) {
    if (signal.aborted || !socket) return;
    const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
    if (socket.write(res.chunkedEncoding ? chunk(bytes) : bytes)) continue;
    try {
      await once(socket, 'drain', { signal });
    } catch {
      return; // the client disconnected, or the stream must end
    }
  }
}

/** One chunk (RFC 9112, section 7.1). An empty chunk would end the body, so no piece may be empty. */
function chunk(bytes: Uint8Array): Buffer {
  const cached = framed.get(bytes);
  if (cached) return cached;
  const made = Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, LINE_END]);
  framed.set(bytes, made);
  return made;
}

/**
 * Writes a reply. A body in pieces is written as fast as the client reads: 10,000 records are 8 MB, which must neither be
 * in memory at once nor block the event loop and with it the heartbeat.
 * @param signal aborts when the client disconnects or a stream must end; the remaining pieces are then not read
 */
export async function sendReply(
  req: IncomingMessage,
  res: ServerResponse,
  reply: Reply,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  const { status, contentType, headers = {}, body } = reply;
  const isWhole = typeof body === 'string' || body instanceof Uint8Array;
  const length = isWhole ? { 'Content-Length': Buffer.byteLength(body) } : {};
  res.writeHead(status, {
    'Content-Type': contentType,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...length,
    ...headers,
  });
  if (req.method === 'HEAD') {
    res.end();
    return;
  }
  if (isWhole) {
    res.end(body);
    return;
  }
  try {
    await (reply.heartbeat ? writeStream : writePieces)(res, body, signal);
  } catch (error) {
    // After an abort the pieces may fail in any way.
    if (!signal.aborted) throw error;
  }
  if (!res.destroyed) res.end();
}

async function writePieces(res: ServerResponse, pieces: Pieces, signal: AbortSignal): Promise<void> {
  for await (const piece of pieces) {
    if (signal.aborted) return;
    if (!res.write(piece)) await once(res, 'drain', { signal });
    // With a fast client `drain` comes at once. Without this pause the body would block the event loop to its end.
    await nextTurn();
  }
}

/**
 * Sends heartbeats until the stream ends, so that neither this server nor a proxy closes it as idle. A client that does
 * not read gets none, so that they do not pile up and the idle limit closes its connection.
 * @param signal aborts when the response is closed or must close
 */
export async function sendHeartbeats(
  res: ServerResponse,
  heartbeat: () => string,
  everyMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await clock.sleep(everyMs, signal).catch(() => {}); // an abort is handled in the next line
    if (signal.aborted || res.writableEnded) return;
    // More than 0: the kernel has not accepted all data yet.
    if (res.writableLength === 0) res.write(heartbeat());
  }
}

/** Items per piece. 64 records are about 64 kB, which does not block the event loop noticeably. */
const PIECE_ITEMS = 64;

/** A list as JSON in pieces, between `head` and `tail`. @param json converts an item before it is serialized */
export function* jsonList<T>(
  head: string,
  items: readonly T[],
  tail: string,
  json: (item: T) => unknown = (item) => item,
): Iterable<string> {
  yield head;
  for (let first = 0; first < items.length; first += PIECE_ITEMS) {
    const piece = items.slice(first, first + PIECE_ITEMS).map((item) => JSON.stringify(json(item)));
    yield `${first === 0 ? '' : ','}${piece.join(',')}`;
  }
  yield tail;
}
