import type { Dispatcher } from 'undici';
import type { HttpPool } from './http-pool.ts';

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
export function boundedAnswer(pool: HttpPool, request: BoundedRequest): Promise<BoundedAnswer> {
  const { method, path, headers, body, maxBytes, signal } = request;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const head: { status: number; headers: Headers } = { status: 0, headers: {} };
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    let controller: Dispatcher.DispatchController | null = null;
    const onAbort = () => {
      controller?.abort(signal.reason);
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
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
          signal.removeEventListener('abort', onAbort);
          resolve({ ...head, trailers, body: Buffer.concat(chunks) });
        },
        onResponseError(_, error) {
          signal.removeEventListener('abort', onAbort);
          reject(error);
        },
      },
    );
  });
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
