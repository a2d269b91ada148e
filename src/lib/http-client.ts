import { Agent, type ClientRequest, type IncomingMessage, request as requestPlain } from 'node:http';
import { request as requestTls, Agent as TlsAgent } from 'node:https';
import type { Socket } from 'node:net';
import { pipeline, type Readable } from 'node:stream';
import type { PeerCertificate } from 'node:tls';
import { urlToHttpOptions } from 'node:url';
import { onAbort } from './abort.ts';
import { deferred } from './deferred.ts';
import { BodyTooLargeError } from './errors.ts';

/** Keep-alive connections to one origin, HTTP/1.1. It never follows redirects and reads no proxy variables. */
export interface HttpPool {
  /**
   * Resolves with the head of the answer. The caller reads the body or destroys it; `signal` ends that, too.
   * @throws the system's connection errors, NoConnectionError, or the signal's reason
   */
  request(request: HttpRequest): Promise<IncomingMessage>;
  /** Closes all connections; requests under way fail. */
  destroy(): Promise<void>;
}

interface TlsTrust {
  /** These three as PEM. */
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
  /** A certificate in `ca` is trusted also where it is not an authority's. */
  readonly allowPartialTrustChain?: boolean;
  /** In place of the check of the certificate’s name; an error refuses it. */
  readonly checkServerIdentity?: (host: string, certificate: PeerCertificate) => Error | undefined;
}

interface HttpPoolOptions {
  /** Most sockets to this origin at the same time. */
  readonly connections: number;
  /** Limit of the TCP and TLS handshakes together, shorter than the deadline of the caller, which ends them, too; default none. */
  readonly connectTimeoutMs?: number;
  /** For an `https:` origin: what is trusted and who asks; asked for each request, so that files can be replaced. */
  readonly tls?: () => Promise<TlsTrust>;
  /** A unix socket, to which it connects instead of the origin's host. */
  readonly socketPath?: string;
}

interface HttpRequest {
  /** Each may be sent twice: where the server closes a kept connection just then, the request goes out again. */
  readonly method: 'GET' | 'PUT' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly signal: AbortSignal;
}

/** No connection within the pool's limit. */
export class NoConnectionError extends Error {
  override readonly name = 'NoConnectionError';
  readonly code = 'CONNECT_TIMEOUT';
}

export function openHttpPool(origin: string, options: HttpPoolOptions): HttpPool {
  const { connections, connectTimeoutMs, tls, socketPath } = options;
  const url = new URL(origin);
  const isTls = url.protocol === 'https:';
  const limits = { keepAlive: true, maxSockets: connections };
  // It gives a connection only to requests with the same PEMs.
  const agent = isTls ? new TlsAgent(limits) : new Agent(limits);
  const open = isTls ? requestTls : requestPlain;
  const target = {
    ...urlToHttpOptions(url),
    agent,
    ...(connectTimeoutMs === undefined ? {} : { timeout: connectTimeoutMs }),
    ...(socketPath === undefined ? {} : { socketPath }),
  };
  const underWay = new Set<ClientRequest>();

  const send = async (request: HttpRequest, attempt: number): Promise<IncomingMessage> => {
    const { method, path, headers, body: sent, signal } = request;
    const head = deferred<IncomingMessage>();
    const trust = isTls && tls ? await tls() : {};
    signal.throwIfAborted();
    const call = open({ ...target, ...trust, method, path, headers: { ...headers } });
    let body: IncomingMessage | null = null;
    underWay.add(call);
    const aborting = onAbort(signal, (reason) => {
      head.reject(reason);
      (body ?? call).destroy(reason as Error);
    });
    call.once('upgrade', (_answer, socket) => {
      socket.destroy();
      head.reject(new Error('the answer is HTTP 101, which was not asked for'));
    });
    call.once('close', () => {
      aborting[Symbol.dispose]();
      underWay.delete(call);
      // No effect once there is an answer.
      head.reject(new Error('the connection was closed without an answer'));
    });
    limitConnecting(call, isTls ? 'secureConnect' : 'connect');
    call.once('response', (answer) => {
      body = answer;
      head.resolve(answer);
    });
    // After the head, too: without a listener the error would end the process. The body has it as well.
    call.on('error', head.reject);
    call.end(sent);
    try {
      return await head.promise;
    } catch (error) {
      const wasClosed = call.reusedSocket && (error as NodeJS.ErrnoException).code === 'ECONNRESET';
      if (signal.aborted || !wasClosed || attempt > connections) throw error;
    }
    return send(request, attempt + 1);
  };

  return {
    request: async (request) => {
      request.signal.throwIfAborted();
      return send(request, 1);
    },
    destroy: async () => {
      for (const call of underWay) call.destroy();
      agent.destroy();
    },
  };
}

/** Of the socket, inactivity in any state: a connection that was made may be silent for longer. */
function limitConnecting(call: ClientRequest, connected: 'connect' | 'secureConnect'): void {
  let isConnecting = true;
  call.once('socket', (socket: Socket) => {
    isConnecting = socket.connecting;
    // A kept one: listeners would gather on it.
    if (!isConnecting) return;
    socket.once(connected, () => {
      isConnecting = false;
    });
  });
  call.on('timeout', () => {
    if (isConnecting) call.destroy(new NoConnectionError('no connection in time'));
  });
}

export interface BoundedResponse {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

/**
 * One request with its whole answer as UTF-8 text.
 * @param maxBytes most body bytes to read
 * @throws BodyTooLargeError above `maxBytes`, what `request` throws, or the signal's reason
 */
export async function boundedRequest(
  pool: HttpPool,
  { maxBytes, ...request }: HttpRequest & { readonly maxBytes: number },
): Promise<BoundedResponse> {
  const answer = await pool.request(request);
  try {
    return { status: statusOf(answer), headers: answer.headers, text: await boundedText(answer, maxBytes) };
  } catch (error) {
    request.signal.throwIfAborted();
    throw error;
  }
}

export function statusOf({ statusCode = 0 }: IncomingMessage): number {
  return statusCode;
}

/**
 * The rest of a body as UTF-8 text. By events: the answer for 10,000 nodes comes in 600 pieces.
 * @throws BodyTooLargeError above `maxBytes`, or the body's error
 */
export async function boundedText(body: Readable, maxBytes: number): Promise<string> {
  const text = deferred<string>();
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  body.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) body.destroy(new BodyTooLargeError(maxBytes));
    else chunks.push(chunk);
  });
  body.once('end', () => text.resolve(Buffer.concat(chunks).toString('utf8')));
  body.once('error', text.reject);
  // It may have been destroyed before there was a listener.
  if (body.destroyed) text.reject(body.errored ?? new Error('the connection was closed'));
  return await text.promise;
}

/**
 * The same of a body that is compressed; `maxBytes` is the limit of both forms, so no body unfolds to more.
 * @throws BodyTooLargeError, SyntaxError for what is no gzip, or the body's error
 */
export async function boundedGunzip(body: IncomingMessage, maxBytes: number): Promise<string> {
  // Loaded here, because most programs that make requests read no compressed answer.
  const { createGunzip } = await import('node:zlib');
  const plain = createGunzip();
  let sizeBytes = 0;
  body.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) plain.destroy(new BodyTooLargeError(maxBytes));
  });
  // Either one that ends early ends the other. The error is that of `plain`.
  pipeline(body, plain, () => {});
  try {
    return await boundedText(plain, maxBytes);
  } catch (error) {
    const isZlibs = /^Z_/.test((error as NodeJS.ErrnoException).code ?? '');
    throw isZlibs ? new SyntaxError('the answer is not the gzip that its header promises', { cause: error }) : error;
  }
}
