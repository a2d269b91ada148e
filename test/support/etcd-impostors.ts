import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import {
  type ClientHttp2Stream,
  connect as connectHttp2,
  createServer as createHttp2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** Something on loopback that is not etcd, or stands before it. */
export interface Impostor {
  readonly url: string;
  close(): Promise<void>;
}

/** Accepts connections and says nothing. */
export async function startSilentServer(
  at: { host?: string; port?: number } = {},
): Promise<Impostor & { readonly connections: () => number }> {
  let connections = 0;
  const server = createServer(() => {
    connections += 1;
  });
  return { ...(await listen(server, at.port, at.host)), connections: () => connections };
}

/** Does with each connection what `handler` does. */
export function startFakeTcp(handler: (socket: Socket) => void): Promise<Impostor> {
  return listen(createServer(handler));
}

/** Answers HTTP/1.1 as `handler` does. */
export function startFakeHttp1(handler: RequestListener): Promise<Impostor> {
  return listen(createHttpServer(handler));
}

/** One call as a fake gRPC server gets it, with the first message that came. */
export interface FakeCall {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly message: Buffer;
  /** Of the messages that follow on the first. */
  onMessage(listener: (message: Buffer) => void): void;
  onClose(listener: () => void): void;
  send(message: Buffer): void;
  /** `status` is gRPC's: https://grpc.io/docs/guides/status-codes/ */
  end(status: number, text?: string): void;
}

/** Speaks gRPC in plain text, and answers as `handler` does. */
export async function startFakeGrpc(
  handler: (call: FakeCall) => void,
): Promise<Impostor & { readonly pings: () => number }> {
  let pings = 0;
  // In megabytes; a large answer waits in the memory of its session.
  const server = createHttp2Server({ maxSessionMemory: 1_000 });
  server.on('session', (session) => {
    session.on('ping', () => {
      pings += 1;
    });
  });
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    stream.once('data', (data: Buffer) => {
      const open = () => {
        if (!stream.headersSent && !stream.destroyed) {
          stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
        }
      };
      handler({
        path: String(headers[':path']),
        headers,
        message: data.subarray(5),
        onMessage: (listener) => stream.on('data', (more: Buffer) => listener(more.subarray(5))),
        onClose: (listener) => stream.on('close', listener),
        send: (message) => {
          open();
          const prefix = Buffer.alloc(5);
          prefix.writeUInt32BE(message.length, 1);
          stream.write(Buffer.concat([prefix, message]));
        },
        end: (status, text = '') => {
          open();
          stream.on('wantTrailers', () => {
            stream.sendTrailers({ 'grpc-status': String(status), 'grpc-message': encodeURI(text) });
          });
          stream.end();
        },
      });
    });
  });
  return { ...(await listen(server)), pings: () => pings };
}

export interface GrpcProxy extends Impostor {
  /** Answers of streams of this path that are open now do not come any more; others, and new ones, do. */
  silence(path: string): void;
  /** Keeps back all answers of streams of this path, also of new ones, as a proxy does that buffers them; null: of none. */
  buffer(path: string | null): void;
  /** Answers of streams of this path come so much later from now on. */
  delay(path: string, ms: number): void;
  /** Hangs up on a client that makes a call with such headers. */
  hangUpOn(refuses: (headers: IncomingHttpHeaders) => boolean): void;
}

/** Passes calls on to etcd at `target`, stream by stream. */
export async function startGrpcProxy(target: string): Promise<GrpcProxy> {
  const open = new Map<ServerHttp2Stream, { readonly path: string; readonly upstream: ClientHttp2Stream }>();
  let refuses = (_: IncomingHttpHeaders) => false;
  let buffered: string | null = null;
  let delayed: { readonly path: string; readonly ms: number } | null = null;
  const session = connectHttp2(target);
  session.on('error', () => {});
  const server = createHttp2Server();
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    if (refuses(headers)) {
      stream.session?.destroy();
      return;
    }
    const upstream = session.request(headers);
    open.set(stream, { path: String(headers[':path']), upstream });
    upstream.on('error', () => {});
    stream.pipe(upstream);
    upstream.on('response', (answer) => {
      // A refusal is all headers.
      if (answer['grpc-status'] !== undefined) stream.respond(answer, { endStream: true });
      else stream.respond(answer, { waitForTrailers: true });
    });
    let trailers = {};
    upstream.on('trailers', (last) => {
      trailers = last;
    });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    upstream.on('data', (chunk) => {
      if (delayed && headers[':path'] === delayed.path) setTimeout(() => stream.write(chunk), delayed.ms).unref();
      else if (headers[':path'] !== buffered) stream.write(chunk);
    });
    upstream.on('end', () => stream.end());
    stream.on('close', () => {
      open.delete(stream);
      upstream.close();
    });
  });
  const impostor = await listen(server);
  return {
    url: impostor.url,
    silence: (path) => {
      for (const { path: its, upstream } of open.values()) {
        if (its === path) upstream.removeAllListeners('data').pause();
      }
    },
    buffer: (path) => {
      buffered = path;
    },
    delay: (path, ms) => {
      delayed = { path, ms };
    },
    hangUpOn: (these) => {
      refuses = these;
    },
    close: async () => {
      session.destroy();
      await impostor.close();
    },
  };
}

/**
 * Passes connections on to etcd at `target` until etcd has answered with `bytes` of them; then everything stops and stays
 * open, as when its host freezes in the middle of an answer.
 */
export function startFreezingProxy(target: string, bytes: number): Promise<Impostor> {
  const { hostname, port } = new URL(target);
  return listen(
    createServer((client) => {
      const upstream = connect(Number(port), hostname);
      let left = bytes;
      upstream.on('data', (chunk: Buffer) => {
        const passed = chunk.subarray(0, left);
        left -= passed.length;
        if (passed.length > 0) client.write(passed);
        if (left === 0) client.pause();
      });
      client.on('data', (chunk) => upstream.write(chunk));
      for (const socket of [client, upstream]) {
        socket.on('error', () => {});
        socket.on('close', () => {
          client.destroy();
          upstream.destroy();
        });
      }
    }),
  );
}

export interface TcpProxy extends Impostor {
  /** From etcd to the client, over all connections. */
  readonly forwardedBytes: () => number;
  /** Made so far. */
  readonly connections: () => number;
  /** The connections that are open now go silent, as when a router forgot them; new ones work. */
  freeze(): void;
}

/** Passes connections on to etcd at `target`. */
export async function startTcpProxy(target: string, ownPort = 0): Promise<TcpProxy> {
  let forwardedBytes = 0;
  let connections = 0;
  const { hostname, port } = new URL(target);
  const pairs = new Set<readonly [Socket, Socket]>();
  const server = createServer((client) => {
    connections += 1;
    const upstream = connect(Number(port), hostname);
    const pair = [client, upstream] as const;
    pairs.add(pair);
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
  const impostor = await listen(server, ownPort);
  return {
    ...impostor,
    connections: () => connections,
    forwardedBytes: () => forwardedBytes,
    freeze: () => {
      for (const [client, upstream] of pairs) {
        client.unpipe(upstream);
        upstream.unpipe(client);
        upstream.pause();
      }
    },
  };
}

async function listen(server: Server, port = 0, host = '127.0.0.1'): Promise<Impostor> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(port, host).unref();
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://${host}:${address.port}`,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
