import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Clock } from '../timing/clock.ts';
import { createAnswer, hasBody, pathOf } from './answer-request.ts';
import { clientErrorAnswer } from './client-error.ts';
import { listenError } from './listen-error.ts';
import { problem } from './problem.ts';
import type { Routes } from './reply.ts';
import { sendHeartbeats } from './send-heartbeats.ts';
import { sendReply } from './send-reply.ts';
import { DEFAULT_LIMITS, type ServerLimits } from './server-limits.ts';

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
