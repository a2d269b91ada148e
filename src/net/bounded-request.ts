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
  readonly body?: string;
  /** Highest number of body bytes read. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

export interface BoundedResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/**
 * One request with its whole body as UTF-8 text.
 * @throws BodyTooLargeError past `maxBytes`, undici's errors for what happens on the wire, or the signal's reason
 */
export async function boundedRequest(pool: HttpPool, request: BoundedRequest): Promise<BoundedResponse> {
  const { method, path, body, maxBytes, signal } = request;
  const response = await pool.request({
    method,
    path,
    headers: { ...request.headers },
    signal,
    ...(body === undefined ? {} : { body }),
  });
  return {
    status: response.statusCode,
    headers: response.headers as BoundedResponse['headers'],
    text: await boundedText(response.body as AsyncIterable<Buffer>, maxBytes),
  };
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
