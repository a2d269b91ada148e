import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { listenError } from '../http/server.ts';
import type { SimulatedRequest } from './http.ts';
import type { Delivery } from './node-answers.ts';

interface HttpListenerOptions {
  readonly host: string;
  /** 0: a free port, kept for the listener's lifetime. */
  readonly port: number;
  readonly onRequest: RequestListener;
  /** Default: 64. */
  readonly maxConnections?: number;
}

/** An HTTP server whose port can be closed and reopened. */
export interface HttpListener {
  readonly url: string;
  /** Opens or closes the port. Closing it ends all connections. */
  setListening(listening: boolean): Promise<void>;
  close(): Promise<void>;
}

/** @throws RollcallError if it cannot listen on the address */
export async function openHttpListener(options: HttpListenerOptions): Promise<HttpListener> {
  const { host, port: asked, onRequest, maxConnections = 64 } = options;
  const limits = { maxHeaderSize: 8_192, headersTimeout: 5_000, requestTimeout: 5_000, keepAliveTimeout: 5_000 };
  const server = createServer(limits, onRequest);
  server.maxConnections = maxConnections;
  // A hanging answer lasts longer than any reader should wait, but not forever.
  server.timeout = 120_000;

  // A later error, such as an accept without free file descriptors, only affects one client, which can retry.
  server.on('error', () => {});

  const listen = async (port: number): Promise<number> => {
    try {
      server.listen({ host, port });
      await once(server, 'listening');
    } catch (error) {
      throw listenError(`${host}:${port}`, error, 'set another --base-port, or 0 for free ports');
    }
    return (server.address() as AddressInfo).port;
  };
  const unlisten = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };

  const port = await listen(asked);
  // Changes run one after the other. A close during an open would find nothing to close and leave the port open.
  let settled: Promise<void> = Promise.resolve();
  const inTurn = (step: () => Promise<void>): Promise<void> => {
    const done = settled.then(step);
    settled = done.catch(() => {}); // this step's caller gets the error; the next step ignores it
    return done;
  };
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    setListening: (listening) =>
      inTurn(async () => {
        if (!listening) await unlisten();
        else if (!server.listening) await listen(port);
      }),
    close: () => inTurn(unlisten),
  };
}

/** Sends an answer whole, or breaks the connection half-way. */
export function sendDelivery(
  res: ServerResponse,
  method: string | undefined,
  delivery: Exclude<Delivery, { kind: 'never' }>,
): void {
  const { status, headers, body } = delivery.answer;
  const bytes = Buffer.from(body);
  res.writeHead(status, { ...headers, 'Content-Length': bytes.length });
  if (delivery.kind === 'whole') res.end(method === 'HEAD' ? undefined : bytes);
  else res.write(bytes.subarray(0, bytes.length / 2), () => res.destroy());
}

interface SimulatedServerOptions {
  readonly host: string;
  /** 0: a free port. */
  readonly port: number;
  readonly respond: (request: SimulatedRequest) => Delivery;
}

interface SimulatedServer extends HttpListener {
  /** Breaks the connections of hanging requests. */
  releaseHeld(): void;
}

/** Starts a server that sends deliveries. @throws RollcallError if it cannot listen on the address */
export async function startSimulatedServer({ host, port, respond }: SimulatedServerOptions): Promise<SimulatedServer> {
  const held = new Set<ServerResponse>();
  const listener = await openHttpListener({
    host,
    port,
    onRequest: (req, res) => {
      // Bodies are not used, but an unread body would block the connection.
      req.resume();
      const delivery = respond(toRequest(req));
      if (delivery.kind !== 'never') return sendDelivery(res, req.method, delivery);
      held.add(res);
      res.once('close', () => held.delete(res));
    },
  });
  return {
    ...listener,
    releaseHeld: () => {
      for (const res of held) res.destroy();
    },
  };
}

function toRequest(req: IncomingMessage): SimulatedRequest {
  return { method: req.method ?? 'GET', path: (req.url ?? '/').split('?', 1)[0] ?? '/', headers: req.headers };
}
