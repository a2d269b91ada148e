import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server, STATUS_CODES } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import { describeError, RollcallError } from '../lib/errors.ts';
import type { Access } from './access.ts';
import { PortInUseError } from './held-port.ts';
import { oneAtATime } from './one-at-a-time.ts';
import { isLoopback, problem, type Reply, type RouteRequest, type Routes } from './reply.ts';
import { sendHeartbeats, sendReply } from './send-reply.ts';

/**
 * True if a request with this `Host` header may be answered. A server on a loopback address answers only loopback names,
 * because a web page can point its own domain at 127.0.0.1 (DNS rebinding) and read the answers, but the browser then
 * sends that domain as `Host`. A request without the header (HTTP/1.0) does not come from a browser.
 * @param listenHost the address the server listens on, without brackets
 */
export function hostAllowed(listenHost: string, hostHeader: string | undefined): boolean {
  if (!isLoopback(listenHost) || hostHeader === undefined) return true;
  const match = /^(\[[^\]]*\]|[^:]*)(?::\d*)?$/.exec(hostHeader.trim().toLowerCase());
  return match?.[1] !== undefined && isLoopback(match[1].replace(/^\[(.*)\]$/, '$1'));
}

/** Limits that protect the node from one client, and from all clients together. */
export interface ServerLimits {
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  /** How often the two timeouts above are checked; a client may get this much longer. */
  readonly checkIntervalMs: number;
  /**
   * A connection without traffic for this long is closed, so that a client that stops reading does not keep an answer in
   * memory. A stream sends three heartbeats within it.
   */
  readonly socketIdleMs: number;
  /** How long `close` waits for answers in progress. */
  readonly closeGraceMs: number;
  readonly maxHeaderBytes: number;
  readonly maxUrlChars: number;
  /** More than the limit of event readers, so that probes and scrapes are answered beside them. */
  readonly maxConnections: number;
  readonly maxRequestsPerSocket: number;
  /** Requests that were sent before the answer to the one before them; see `oneAtATime`. */
  readonly maxWaitingPerSocket: number;
}

const DEFAULT_LIMITS: ServerLimits = {
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
  maxWaitingPerSocket: 16,
};

/** Finds and calls the handler of a request. Rejects with the handler's error. */
type Answer = (req: IncomingMessage, signal: AbortSignal) => Promise<Reply>;

/**
 * Creates the function that routes requests, with the errors that are the same for all paths (400, 404, 405, 413, 414,
 * 421). @param listenHost see `hostAllowed`
 */
function createAnswer(routes: Routes, listenHost: string, limits: ServerLimits, access: Access | null): Answer {
  const parsed = Object.entries(routes).map(([path, handler]) => ({ segments: path.split('/'), handler }));

  return async (req, signal) => {
    const path = pathOf(req);
    const refused = refuseRequest(req, path, listenHost, limits);
    if (refused) return refused;
    const unknown = access?.refuse(req, path);
    if (unknown) return unknown;
    const asked = decodePath(path);
    if (!asked) return problem(400, 'the path is not valid percent-encoding', { instance: path });
    const found = parsed.find(({ segments }) => matches(segments, asked));
    if (!found) return problem(404, 'unknown path; / lists the paths', { instance: path });
    const { method, headers, socket } = req;
    if (method !== 'GET' && method !== 'HEAD') {
      const detail = `method ${method} is not allowed; use GET or HEAD`;
      return problem(405, detail, { instance: path, headers: { Allow: 'GET, HEAD' } });
    }
    if (hasBody(req))
      return problem(413, 'request bodies are not allowed; send the request without one', { instance: path });
    const query = new URLSearchParams(req.url?.split('?').slice(1).join('?'));
    const params = parametersOf(found.segments, asked);
    return found.handler({ method, path, params, query, headers, port: socket.localPort ?? 0, signal });
  };
}

function refuseRequest(req: IncomingMessage, path: string, listenHost: string, limits: ServerLimits): Reply | null {
  const { host } = req.headers;
  if (!hostAllowed(listenHost, host)) {
    return problem(421, `host ${host?.slice(0, 100)} is not allowed on ${listenHost}; use localhost or 127.0.0.1`);
  }
  const chars = req.url?.length ?? 0;
  if (chars > limits.maxUrlChars) {
    return problem(414, `the URL has ${chars} characters; the limit is ${limits.maxUrlChars}`);
  }
  if (!path.startsWith('/')) return problem(400, 'this server is not a proxy; request a path', { instance: path });
  return null;
}

function pathOf(req: IncomingMessage): string {
  return req.url?.split(/[?#]/, 1)[0] ?? '';
}

/** True if the request has a body. No handler reads it, so the connection must be closed after the answer. */
function hasBody(req: IncomingMessage): boolean {
  return req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0;
}

/** null for an invalid escape. */
function decodePath(path: string): readonly string[] | null {
  try {
    // Decode after the split, because an encoded slash is part of a segment.
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
 * The HTTP/1.1 answer to bytes that are not a valid request. Node then has no response object, so the whole answer is
 * built here. @param code of the error in node:http's `clientError` event
 */
function clientErrorAnswer(code: string | undefined): string {
  const { status, detail } = describeClientError(code);
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

function describeClientError(code: string | undefined): { status: number; detail: string } {
  if (code === 'HPE_HEADER_OVERFLOW') return { status: 431, detail: 'the headers are too large' };
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return { status: 408, detail: 'the request did not arrive in time' };
  return { status: 400, detail: 'not an HTTP/1.1 request' };
}

const CAUSES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use',
  EACCES: 'not permitted, ports below 1024 need privileges',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'this name has no address',
  EAI_AGAIN: 'the name could not be resolved',
};

/** The error of a failed `listen`, in one line. @param address such as `127.0.0.1:51690` */
export function listenError(address: string, error: unknown, nextStep: string): RollcallError {
  const code = (error as { code?: unknown } | null)?.code;
  const cause = (typeof code === 'string' && CAUSES[code]) || describeError(error);
  // No `cause`, because its message repeats the same.
  const Kind = code === 'EADDRINUSE' ? PortInUseError : RollcallError;
  return new Kind(`listen on ${address}: ${cause}; ${nextStep}`);
}

export interface HttpServerOptions {
  /** `host`: a name, or an address without brackets; port 0: a free port. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly routes: Routes;
  readonly clock: Clock;
  /** Called with an unexpected error of a handler; the client gets a 500 without details. */
  readonly onError: (error: unknown) => void;
  /** A file of `access` that cannot be used any more; default `onError`. */
  readonly onAccessError?: (error: unknown) => void;
  readonly limits?: Partial<ServerLimits>;
  /** Who is let in, and the certificates of the port; default: everyone, without TLS. */
  readonly access?: Access | null;
}

export interface HttpServer {
  /** With the actual port: `http://127.0.0.1:51690`. */
  readonly url: string;
  /** Stops listening, ends streams, waits up to `closeGraceMs` for answers in progress, then closes all connections. */
  close(): Promise<void>;
}

async function createListener(
  access: Access | null,
  limits: ServerLimits,
  onRequest: RequestListener,
): Promise<Server | TlsServer> {
  const settings = {
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: limits.checkIntervalMs,
  };
  const pems = access?.tls();
  if (!pems) return createServer(settings, onRequest);
  const https = await import('node:https');
  // A connection without a client certificate is not refused in the handshake: it may ask for /healthz.
  const tls = {
    ...pems,
    requestCert: pems.ca !== undefined,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
  } as const;
  return https.createServer({ ...settings, ...tls, handshakeTimeout: limits.headersTimeoutMs }, onRequest);
}

/**
 * A read-only HTTP server: GET and HEAD, no bodies, every error an RFC 9457 problem.
 * @throws RollcallError if it cannot listen on the address, PortInUseError if that is because of the port
 */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { listen, routes, clock, onError, access = null } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const answer = createAnswer(routes, listen.host, limits, access);
  const streams = new Map<AbortController, IncomingMessage>();

  const begin: RequestListener = (req, res) => {
    const controller = new AbortController();
    const { signal } = controller;
    res.once('close', () => {
      streams.delete(controller);
      controller.abort();
    });
    answer(req, signal)
      .catch((error: unknown) => {
        // After the client has disconnected, a handler may fail in any way.
        if (!signal.aborted) onError(error);
        return problem(500, 'internal error; the agent’s log has the cause', { instance: pathOf(req) });
      })
      .then((reply) => {
        const { heartbeat } = reply;
        if (!server.listening || hasBody(req) || heartbeat) res.setHeader('Connection', 'close');
        if (heartbeat) {
          if (!server.listening) return sendReply(req, res, problem(503, 'this server is closing'), signal);
          // What let it in may have been removed meanwhile.
          const refused = access?.refuse(req, pathOf(req));
          if (refused) return sendReply(req, res, refused, signal);
          streams.set(controller, req);
          sendHeartbeats(res, heartbeat, limits.socketIdleMs / 3, clock, signal).catch(onError);
        }
        return sendReply(req, res, reply, signal);
      })
      .catch((error: unknown) => {
        onError(error);
        // The status may be sent already, so closing the connection is the only way to mark the answer as incomplete.
        res.destroy();
      });
  };

  const refuse: RequestListener = (req, res) => {
    const waiting = limits.maxWaitingPerSocket + 1;
    const detail = `${waiting} requests of this connection wait for an answer; the limit is ${limits.maxWaitingPerSocket}`;
    res.setHeader('Connection', 'close');
    sendReply(req, res, problem(503, detail, { instance: pathOf(req) }), new AbortController().signal).catch(onError);
  };
  const { onRequest, isAnswering } = oneAtATime(begin, limits.maxWaitingPerSocket, refuse);

  const server = await createListener(access, limits, onRequest);
  server.on('checkContinue', onRequest); // otherwise node:http asks for the body, which is then refused
  server.maxConnections = limits.maxConnections;
  server.maxRequestsPerSocket = limits.maxRequestsPerSocket;
  server.timeout = limits.socketIdleMs;
  const following = new AbortController();
  // Node's `closeAllConnections` leaves out those whose TLS handshake is not over.
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  // It waits for a handshake in vain before it ends, too, when something is written to it.
  server.on('tlsClientError', (_, socket: Socket) => socket.destroy());
  if (access) {
    const changes: Parameters<Access['follow']>[0] = {
      renewed: (pems) => 'setSecureContext' in server && (server as TlsServer).setSecureContext(pems),
      revoked(what) {
        for (const [stream, req] of streams) if (access.refuse(req, pathOf(req))) stream.abort();
        // Those that still may come back by themselves.
        if (what === 'authority') for (const socket of sockets) socket.destroy();
      },
    };
    access.follow(changes, options.onAccessError ?? onError, following.signal).catch(onError);
  }
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    // During an answer, these bytes would become part of it.
    if (socket.writable && !isAnswering(socket)) socket.write(clientErrorAnswer(error.code));
    socket.destroySoon();
  });

  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host;
  try {
    // Without a host, Node listens on all addresses there are: on `::`, and where the kernel has no IPv6 on `0.0.0.0`.
    server.listen(listen.host === '::' ? { port: listen.port } : listen);
    await once(server, 'listening');
  } catch (error) {
    following.abort();
    throw listenError(`${host}:${listen.port}`, error, 'choose another with --listen HOST:PORT');
  }
  server.on('error', onError);

  return {
    url: `${access?.tls() ? 'https' : 'http'}://${host}:${(server.address() as AddressInfo).port}`,
    async close() {
      following.abort();
      if (!server.listening) return;
      const grace = new AbortController();
      const closed = once(server, 'close').then(() => grace.abort());
      server.close();
      for (const stream of streams.keys()) stream.abort();
      await clock.sleep(limits.closeGraceMs, grace.signal).catch(() => {}); // aborted when all answers ended
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
