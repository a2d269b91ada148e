import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, STATUS_CODES } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import { describeError, RollcallError } from '../lib/errors.ts';
import { problem, type Reply, type RouteRequest, type Routes, sendHeartbeats, sendReply } from './reply.ts';

const LOOPBACK_V4 = /^127(?:\.\d{1,3}){3}$/;

/**
 * Whether a request with this `Host` header may be answered. On a loopback address only loopback names are: a web page
 * can point a name of its own at 127.0.0.1 (DNS rebinding) and would then read the answers, but it cannot choose
 * another `Host` than that name. A request without the header (HTTP/1.0) comes from no browser.
 * @param listenHost the address the server listens on, without brackets
 */
export function hostAllowed(listenHost: string, hostHeader: string | undefined): boolean {
  if (!isLoopback(listenHost) || hostHeader === undefined) return true;
  const match = /^(\[[^\]]*\]|[^:]*)(?::\d*)?$/.exec(hostHeader.trim().toLowerCase());
  return match?.[1] !== undefined && isLoopback(match[1].replace(/^\[(.*)\]$/, '$1'));
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || LOOPBACK_V4.test(host);
}

/** What one client, or all of them, can take of a node that has other work to do. */
export interface ServerLimits {
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  /** How often the two timeouts above are looked at: a slow client may have that much longer. */
  readonly checkIntervalMs: number;
  /**
   * A connection on which nothing moves is closed, so that a client that stops reading does not hold an answer. Streams
   * have a heartbeat three times within it.
   */
  readonly socketIdleMs: number;
  /** How long `close` lets answers under way finish. */
  readonly closeGraceMs: number;
  readonly maxHeaderBytes: number;
  readonly maxUrlChars: number;
  /** More than there may be event readers: probes and scrapes must come through beside them. */
  readonly maxConnections: number;
  readonly maxRequestsPerSocket: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 5_000,
  keepAliveTimeoutMs: 5_000,
  checkIntervalMs: 1_000,
  socketIdleMs: 30_000,
  closeGraceMs: 500,
  maxHeaderBytes: 8_192,
  maxUrlChars: 2_048,
  maxConnections: 1_280,
  maxRequestsPerSocket: 1_000,
};

/** Finds and calls the handler of a request. Rejects with what the handler throws. */
export type Answer = (req: IncomingMessage, signal: AbortSignal) => Promise<Reply>;

/**
 * Everything that is the same for all paths: 404, 405, and what is refused before a handler sees it.
 * @param listenHost decides which `Host` headers are answered; see `hostAllowed`
 */
export function createAnswer(routes: Routes, listenHost: string, limits: ServerLimits): Answer {
  const parsed = Object.entries(routes).map(([path, handler]) => ({ segments: path.split('/'), handler }));

  return async (req, signal) => {
    const path = pathOf(req);
    const refused = refusal(req, path, listenHost, limits);
    if (refused) return refused;
    const asked = decodePath(path);
    if (!asked) return problem(400, 'the path is not valid percent-encoding', { instance: path });
    const found = parsed.find(({ segments }) => matches(segments, asked));
    if (!found) return problem(404, 'nothing is here; / lists what is', { instance: path });
    const { method, headers, socket } = req;
    if (method !== 'GET' && method !== 'HEAD') {
      const detail = `method ${method} is not allowed; GET and HEAD are`;
      return problem(405, detail, { instance: path, headers: { Allow: 'GET, HEAD' } });
    }
    if (hasBody(req)) return problem(413, 'this server takes no request bodies', { instance: path });
    const query = new URLSearchParams(req.url?.split('?').slice(1).join('?'));
    const params = parametersOf(found.segments, asked);
    return found.handler({ method, path, params, query, headers, port: socket.localPort ?? 0, signal });
  };
}

function refusal(req: IncomingMessage, path: string, listenHost: string, limits: ServerLimits): Reply | null {
  const { host } = req.headers;
  if (!hostAllowed(listenHost, host)) {
    return problem(421, `host ${host?.slice(0, 100)} is not answered on ${listenHost}; use localhost or 127.0.0.1`);
  }
  const chars = req.url?.length ?? 0;
  if (chars > limits.maxUrlChars) {
    return problem(414, `the address has ${chars} characters; at most ${limits.maxUrlChars} are taken`);
  }
  if (!path.startsWith('/')) return problem(400, 'this is no proxy; ask for a path', { instance: path });
  return null;
}

export function pathOf(req: IncomingMessage): string {
  return req.url?.split(/[?#]/, 1)[0] ?? '';
}

/** A body that nobody reads must not be taken for the next request: its connection has to be closed. */
export function hasBody(req: IncomingMessage): boolean {
  return req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0;
}

/** Null when an escape is malformed. */
function decodePath(path: string): readonly string[] | null {
  try {
    // After the split: an encoded slash is part of a name.
    return path.split('/').map((segment) => decodeURIComponent(segment));
  } catch {
    return null;
  }
}

/** @param segments of `/v1/containerInstances/:id`: '', 'v1', 'containerInstances', ':id' */
function matches(segments: readonly string[], path: readonly string[]): boolean {
  const same = (segment: string, index: number) => segment.startsWith(':') || segment === path[index];
  return segments.length === path.length && segments.every(same);
}

function parametersOf(segments: readonly string[], path: readonly string[]): RouteRequest['params'] {
  const named = segments.flatMap((segment, index) =>
    segment.startsWith(':') ? [[segment.slice(1), path[index]]] : [],
  );
  return Object.fromEntries(named);
}

/**
 * The whole HTTP/1.1 answer to bytes that are no request. There is no request object then, and so no other way than to
 * write the answer by hand.
 * @param code of the error that node:http gives to `clientError`
 */
export function clientErrorAnswer(code: string | undefined): string {
  const { status, detail } = describe(code);
  const { contentType, body } = problem(status, detail);
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `Content-Type: ${contentType}`,
    `Content-Length: ${Buffer.byteLength(String(body))}`,
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    'Connection: close',
    '',
    String(body),
  ].join('\r\n');
}

function describe(code: string | undefined): { status: number; detail: string } {
  if (code === 'HPE_HEADER_OVERFLOW') return { status: 431, detail: 'the headers are longer than this server takes' };
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return { status: 408, detail: 'the request did not arrive in time' };
  return { status: 400, detail: 'not an HTTP/1.1 request' };
}

const NEXT_STEP = 'choose another with --listen HOST:PORT';

const CAUSES: Readonly<Record<string, string>> = {
  EADDRINUSE: `the port is in use; stop the program that has it, or ${NEXT_STEP}`,
  EACCES: `not permitted; ports below 1024 need privileges, ${NEXT_STEP}`,
  EADDRNOTAVAIL: `this machine has no such address; ${NEXT_STEP}`,
  ENOTFOUND: `no address is known for this name; ${NEXT_STEP}`,
  EAI_AGAIN: `the name could not be resolved; ${NEXT_STEP}`,
};

/** What kept a server from listening, in one line. @param address as in `127.0.0.1:51690` */
export function listenError(address: string, error: unknown): RollcallError {
  const code = (error as { code?: unknown } | null)?.code;
  const cause = (typeof code === 'string' && CAUSES[code]) || `${describeError(error)}; ${NEXT_STEP}`;
  // No `cause`: it would say the same again in the operating system's words.
  return new RollcallError(`listen on ${address}: ${cause}`);
}

export interface HttpServerOptions {
  /** `host` is a name or an address without brackets; port 0 is any free one. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly routes: Routes;
  readonly clock: Clock;
  /** A handler failed in a way that is a defect; the client got a 500 without details. */
  readonly onError: (error: unknown) => void;
  readonly limits?: Partial<ServerLimits>;
}

export interface HttpServer {
  /** With the port it got: `http://127.0.0.1:51690`. */
  readonly url: string;
  /** Stops accepting, ends streams, lets answers under way finish for `closeGraceMs`, then ends what is left. */
  close(): Promise<void>;
}

/**
 * A read-only HTTP server: GET and HEAD, no bodies, every error an RFC 9457 problem.
 * @throws RollcallError in one line when the address cannot be listened on
 */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { listen, routes, clock, onError } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const answer = createAnswer(routes, listen.host, limits);
  const answering = new WeakSet<Socket>();
  const streams = new Set<AbortController>();

  const onRequest: RequestListener = (req, res) => {
    const { socket } = req;
    const controller = new AbortController();
    const { signal } = controller;
    answering.add(socket);
    res.once('close', () => {
      answering.delete(socket);
      streams.delete(controller);
      controller.abort();
    });
    answer(req, signal)
      .catch((error: unknown) => {
        // A handler whose client went away may fail in any way it likes.
        if (!signal.aborted) onError(error);
        return problem(500, 'a defect of this server; its log has the cause', { instance: pathOf(req) });
      })
      .then((reply) => {
        const { heartbeat } = reply;
        if (!server.listening || hasBody(req) || heartbeat) res.setHeader('Connection', 'close');
        if (heartbeat) {
          if (!server.listening) return sendReply(req, res, problem(503, 'this server is closing'), signal);
          streams.add(controller);
          sendHeartbeats(res, heartbeat, limits.socketIdleMs / 3, clock, signal).catch(onError);
        }
        return sendReply(req, res, reply, signal);
      })
      .catch((error: unknown) => {
        onError(error);
        // The status may be sent already: cutting the answer short is the only way left to say that it is not whole.
        res.destroy();
      });
  };

  const server = createServer(
    {
      maxHeaderSize: limits.maxHeaderBytes,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: limits.checkIntervalMs,
    },
    onRequest,
  );
  server.on('checkContinue', onRequest); // else node:http invites the body that is refused
  server.maxConnections = limits.maxConnections;
  server.maxRequestsPerSocket = limits.maxRequestsPerSocket;
  server.timeout = limits.socketIdleMs;
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    // In the middle of an answer, bytes of our own would be taken for a part of it.
    if (socket.writable && !answering.has(socket)) socket.write(clientErrorAnswer(error.code));
    socket.destroySoon();
  });

  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  try {
    server.listen({ host: listen.host, port: listen.port });
    await once(server, 'listening');
  } catch (error) {
    throw listenError(`${host}:${listen.port}`, error);
  }
  server.on('error', onError);

  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    async close() {
      if (!server.listening) return;
      const grace = new AbortController();
      const closed = once(server, 'close').then(() => grace.abort());
      server.close();
      for (const stream of streams) stream.abort();
      await clock.sleep(limits.closeGraceMs, grace.signal).catch(() => {}); // all ended sooner
      server.closeAllConnections();
      await closed;
    },
  };
}
