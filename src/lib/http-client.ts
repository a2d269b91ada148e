import type { buildConnector, Dispatcher } from 'undici';
import request from 'undici/lib/api/api-request.js';
import BaseDispatcher from 'undici/lib/dispatcher/dispatcher.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import { onAbort } from './abort.ts';

// What undici's own index does to give every dispatcher its `request`; see undici-deep.d.ts for why not the index.
Object.assign(BaseDispatcher.prototype, { request });

export type HttpPool = Pool;

export interface HttpPoolOptions {
  /** Highest number of sockets to this origin at once. */
  readonly connections: number;
  /** Limit of the TCP and TLS handshakes together. The caller's deadline, where shorter, wins. */
  readonly connectTimeoutMs: number;
  /** A connector of one's own, or what TLS takes. */
  readonly connect?: buildConnector.connector | buildConnector.BuildOptions;
}

/** A pool of keep-alive connections to one origin, HTTP/1.1. It never follows redirects and reads no proxy variables. */
export function openHttpPool(origin: string, { connections, connectTimeoutMs, connect }: HttpPoolOptions): HttpPool {
  return new Pool(origin, {
    connections,
    pipelining: 1,
    allowH2: false,
    connect: typeof connect === 'function' ? connect : { ...connect, timeout: connectTimeoutMs },
    // The deadlines of the callers rule; a streamed answer (events) may be silent for long.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

/** The answer is larger than the caller can take; the connection was closed without reading the rest. */
export class BodyTooLargeError extends Error {
  override readonly name = 'BodyTooLargeError';
  constructor(maxBytes: number) {
    super(`the answer is larger than ${maxBytes} bytes`);
  }
}

export interface BoundedRequest {
  readonly method: 'GET' | 'PUT' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Highest number of body bytes read. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

export interface BoundedAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly trailers: Headers;
  readonly body: Buffer;
}

export interface BoundedResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** `boundedAnswer` with the body as UTF-8 text. */
export async function boundedRequest(pool: HttpPool, request: BoundedRequest): Promise<BoundedResponse> {
  const { status, headers, body } = await boundedAnswer(pool, request);
  return { status, headers, text: body.toString('utf8') };
}

/**
 * One request with its whole answer. No stream in between: a roll of 10,000 nodes comes off the wire in 600 pieces.
 * @throws BodyTooLargeError past `maxBytes`, undici's errors for what happens on the wire, or the signal's reason
 */
export async function boundedAnswer(pool: HttpPool, request: BoundedRequest): Promise<BoundedAnswer> {
  const { method, path, headers, body, maxBytes, signal } = request;
  signal.throwIfAborted();
  const answer = Promise.withResolvers<BoundedAnswer>();
  const head: { status: number; headers: Headers } = { status: 0, headers: {} };
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  let controller: Dispatcher.DispatchController | null = null;
  using _aborting = onAbort(signal, () => {
    controller?.abort(signal.reason);
    answer.reject(signal.reason);
  });
  pool.dispatch(
    { method, path, headers: { ...headers }, ...(body === undefined ? {} : { body }) },
    {
      onRequestStart(started) {
        // It may have waited for a connection for longer than anybody wants its answer.
        if (signal.aborted) started.abort(signal.reason);
        else controller = started;
      },
      onResponseStart(_, statusCode, responseHeaders) {
        head.status = statusCode;
        head.headers = responseHeaders;
      },
      onResponseData(receiving, chunk) {
        sizeBytes += chunk.length;
        if (sizeBytes > maxBytes) receiving.abort(new BodyTooLargeError(maxBytes));
        else chunks.push(chunk);
      },
      onResponseEnd(_, trailers) {
        answer.resolve({ ...head, trailers, body: Buffer.concat(chunks) });
      },
      onResponseError(_, error) {
        answer.reject(error);
      },
    },
  );
  return await answer.promise;
}

/** The rest of a body as UTF-8 text. @throws BodyTooLargeError past `maxBytes`, or what the stream fails with */
export async function boundedText(body: AsyncIterable<Buffer>, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of body) {
    sizeBytes += chunk.length;
    // Leaving the loop destroys the body and with it the connection.
    if (sizeBytes > maxBytes) throw new BodyTooLargeError(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
