import { type IncomingHttpHeaders, STATUS_CODES } from 'node:http';
import { escapeOutput } from '../lib/foreign-text.ts';

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
  /** The same body in gzip, where that is less work than to compress `body`. */
  readonly gzip?: () => Pieces;
  /** The entity tag of the body: a request that names it gets 304 without the body. */
  readonly etag?: string;
  /**
   * Makes the reply a stream, which lasts until the client disconnects or the server closes. Returns a text that keeps the
   * connection open. Called three times within the limit for idle connections, but not while the client has unread data.
   * The pieces of a stream must themselves yield to the event loop from time to time.
   */
  readonly heartbeat?: () => string;
}

export type Pieces = Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

/** Answers GET and HEAD. An error becomes a 500 without details, and is passed to `onError`. */
export type Handler = (request: RouteRequest) => Reply | Promise<Reply>;

/** Handlers by path; a path may have parameters, as in `/v1/containerInstances/:id`. */
export type Routes = Readonly<Record<string, Handler>>;

export function jsonReply(value: unknown): Reply {
  return { status: 200, contentType: 'application/json', body: safeJson(value) };
}

/** One line of JSON that cannot control the terminal of who asks by hand: the store has text that other programs wrote. */
function safeJson(value: unknown): string {
  return escapeOutput(`${JSON.stringify(value)}\n`);
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
    body: safeJson({ ...body, ...extension }),
  };
}

/** Items per piece. 64 records are about 64 kB, which does not block the event loop noticeably. */
const PIECE_ITEMS = 64;

/**
 * A list as JSON in pieces, between `head` and `tail`.
 * @param json converts an item before it is serialized; null leaves it out
 */
export function* jsonList<T>(
  head: string,
  items: readonly T[],
  tail: string,
  json: (item: T) => unknown = (item) => item,
): Iterable<string> {
  yield head;
  let isFirst = true;
  for (let first = 0; first < items.length; first += PIECE_ITEMS) {
    const piece = items
      .slice(first, first + PIECE_ITEMS)
      .map(json)
      .filter((item) => item !== null);
    if (piece.length === 0) continue;
    yield `${isFirst ? '' : ','}${JSON.stringify(piece).slice(1, -1)}`;
    isFirst = false;
  }
  yield tail;
}
