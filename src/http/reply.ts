import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../lib/clock.ts';

/** What a route sees of a request. */
export interface RouteRequest {
  readonly method: 'GET' | 'HEAD';
  /** As it was asked for, without the query. */
  readonly path: string;
  readonly params: Readonly<Record<string, string | undefined>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** The port of ours that the request came to. */
  readonly port: number;
  /** Aborts when the client goes away, and for a stream when the server closes. */
  readonly signal: AbortSignal;
}

export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Pieces are taken one by one, as fast as the client reads them. Of a HEAD request none is taken. */
  readonly body: string | Pieces;
  /**
   * Makes the reply a stream that goes on until the client leaves or the server closes: called three times within the
   * limit for idle connections for a text that keeps it open, but never while the client has not read what came before.
   * Its pieces are to leave the loop to others now and then by themselves.
   */
  readonly heartbeat?: () => string;
}

export type Pieces = Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

/** Answers GET and HEAD alike. What it throws becomes a 500 without details, and its cause goes to `onError`. */
export type Handler = (request: RouteRequest) => Reply | Promise<Reply>;

/** Handlers by path; a path may have parameters, as in `/v1/containerInstances/:id`. */
export type Routes = Readonly<Record<string, Handler>>;

export function jsonReply(value: unknown): Reply {
  return { status: 200, contentType: 'application/json', body: `${JSON.stringify(value)}\n` };
}

export interface ProblemOptions {
  /** The path that was asked for. */
  readonly instance?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Members of its own beside the standard ones. */
  readonly extension?: Readonly<Record<string, unknown>>;
}

/**
 * An error as RFC 9457 has it. `type` is `about:blank`: the status says what kind of problem it is, `detail` what went
 * wrong this time, with the value and what would be allowed.
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
/** Many readers are sent the same bytes: they are framed once. */
const framed = new WeakMap<Uint8Array, Buffer>();

/**
 * Writes the pieces of a stream, only as fast as the client reads. They go to the connection itself, framed as
 * `response.write` does it: that costs three times as much, 20 ms for each event with 1,000 readers on one agent.
 */
export async function writeStream(res: ServerResponse, pieces: Pieces, signal: AbortSignal): Promise<void> {
  // What is written past it must not overtake it.
  res.flushHeaders();
  const { socket } = res;
  for await (const piece of pieces) {
    if (signal.aborted || !socket) return;
    const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
    if (socket.write(res.chunkedEncoding ? chunk(bytes) : bytes)) continue;
    try {
      await once(socket, 'drain', { signal });
    } catch {
      return; // the client broke the connection, which is its right, or the stream is to end
    }
  }
}

/** One chunk (RFC 9112, section 7.1). An empty one would end the body, so that no piece may be empty. */
function chunk(bytes: Uint8Array): Buffer {
  const known = framed.get(bytes);
  if (known) return known;
  const made = Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, LINE_END]);
  framed.set(bytes, made);
  return made;
}

/**
 * Writes a reply, a body in pieces only as fast as the client reads: 10,000 records are 8 MB, which must neither be
 * held at once nor block the loop that beats.
 * @param signal aborts when the client goes away, or a stream is to end; the rest is then not made
 */
export async function sendReply(
  req: IncomingMessage,
  res: ServerResponse,
  reply: Reply,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  const { status, contentType, headers = {}, body } = reply;
  const length = typeof body === 'string' ? { 'Content-Length': Buffer.byteLength(body) } : {};
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
  if (typeof body === 'string') {
    res.end(body);
    return;
  }
  try {
    await (reply.heartbeat ? writeStream : writePieces)(res, body, signal);
  } catch (error) {
    // How the pieces end when nobody wants them any more is up to them.
    if (!signal.aborted) throw error;
  }
  if (!res.destroyed) res.end();
}

async function writePieces(res: ServerResponse, pieces: Pieces, signal: AbortSignal): Promise<void> {
  for await (const piece of pieces) {
    if (signal.aborted) return;
    if (!res.write(piece)) await once(res, 'drain', { signal });
    // A fast client drains within the same turn: without this, nothing else would get one until the body's end.
    await nextTurn();
  }
}

/**
 * Keeps a stream from looking idle, to us and to every proxy on the way, until it ends. A client that does not read
 * gets none: they would pile up, and it is to be taken for idle.
 * @param signal aborts when the response is closed, or to be
 */
export async function sendHeartbeats(
  res: ServerResponse,
  heartbeat: () => string,
  everyMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await clock.sleep(everyMs, signal).catch(() => {}); // aborted: seen in the next line
    if (signal.aborted || res.writableEnded) return;
    // Anything above zero is what the system has not taken yet.
    if (res.writableLength === 0) res.write(heartbeat());
  }
}

/** Items to a piece: about 64 kB of records, far less than what holds up the loop. */
const PIECE_ITEMS = 64;

/** A list as JSON in pieces, between `head` and `tail`. @param json what stands for an item, `JSON.stringify`'s own if not given */
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
