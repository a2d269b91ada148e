import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttp2Server, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
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

/** Answers HTTP/2 in plain text as `handler` does. */
export function startFakeHttp2(
  handler: (request: Http2ServerRequest, response: Http2ServerResponse) => void,
): Promise<Impostor> {
  return listen(createHttp2Server(handler));
}

/** Answers HTTP/1.1 as `handler` does. */
export function startFakeGateway(handler: RequestListener): Promise<Impostor> {
  return listen(createHttpServer(handler));
}

export interface TcpProxy extends Impostor {
  /** From etcd to the client, over all connections. */
  readonly forwardedBytes: () => number;
  /** Connections made so far that began to speak HTTP/2, and others. In TLS the offer of `h2` counts. */
  readonly connections: () => { readonly http1: number; readonly http2: number };
  /** The connections whose last request was for `path` go silent, as when a router forgot them; others work. */
  freeze(path: string): void;
}

/** Begins with HTTP/2's preface (RFC 9113, 3.4), or is a TLS hello with `h2` among its protocols (RFC 7301). */
function startsHttp2(chunk: Buffer): boolean {
  return chunk.toString('latin1').startsWith('PRI * HTTP/2.0') || (chunk[0] === 0x16 && chunk.includes('\x02h2'));
}

/** Passes connections on to etcd at `target`; those over HTTP/2 to another one where `http2Target` says so. */
export async function startTcpProxy(target: string, http2Target = target, ownPort = 0): Promise<TcpProxy> {
  let forwardedBytes = 0;
  const connections = { http1: 0, http2: 0 };
  const pairs = new Map<readonly [Socket, Socket], string>();
  const server = createServer((client) => {
    client.once('data', (chunk: Buffer) => {
      client.pause();
      const isHttp2 = startsHttp2(chunk);
      connections[isHttp2 ? 'http2' : 'http1'] += 1;
      client.unshift(chunk);
      join(client, new URL(isHttp2 ? http2Target : target));
    });
  });
  const join = (client: Socket, { hostname, port }: URL) => {
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
  };
  const impostor = await listen(server, ownPort);
  return {
    ...impostor,
    connections: () => connections,
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

async function listen(server: Server, port = 0): Promise<Impostor> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(port, '127.0.0.1').unref();
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
