import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** Something on loopback that is not etcd, or stands before it. */
export interface Impostor {
  readonly url: string;
  close(): Promise<void>;
}

/** Accepts connections and says nothing. */
export function startSilentServer(): Promise<Impostor> {
  return listen(createServer());
}

/** Answers HTTP as `handler` does. */
export function startFakeGateway(handler: RequestListener): Promise<Impostor> {
  return listen(createHttpServer(handler));
}

export interface TcpProxy extends Impostor {
  /** From etcd to the client, over all connections. */
  readonly forwardedBytes: () => number;
  /** The connections whose last request was for `path` go silent, as when a router forgot them; others work. */
  freeze(path: string): void;
}

/** Passes connections on to etcd at `target`. */
export async function startTcpProxy(target: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(target);
  let forwardedBytes = 0;
  const pairs = new Map<readonly [Socket, Socket], string>();
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    const pair = [client, upstream] as const;
    client.on('data', (chunk) => pairs.set(pair, chunk.toString('latin1').split('\r\n', 1)[0] ?? ''));
    upstream.on('data', (chunk) => {
      forwardedBytes += chunk.length;
    });
    client.pipe(upstream);
    upstream.pipe(client);
    for (const socket of pair) {
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        upstream.destroy();
        pairs.delete(pair);
      });
    }
  });
  const impostor = await listen(server);
  return {
    ...impostor,
    forwardedBytes: () => forwardedBytes,
    freeze: (path) => {
      for (const [[client, upstream], request] of pairs) {
        if (!request.includes(` ${path} `)) continue;
        client.unpipe(upstream);
        upstream.unpipe(client);
        upstream.pause();
      }
    },
  };
}

async function listen(server: Server): Promise<Impostor> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1').unref();
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
