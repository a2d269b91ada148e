import type { buildConnector } from 'undici';
import request from 'undici/lib/api/api-request.js';
import Dispatcher from 'undici/lib/dispatcher/dispatcher.js';
import Pool from 'undici/lib/dispatcher/pool.js';

// What undici's own index does to give every dispatcher its `request`; see undici-deep.d.ts for why not the index.
Object.assign(Dispatcher.prototype, { request });

export type HttpPool = Pool;

/**
 * How much of one answer, and of all together, may come before it is taken: with undici's 256 and 512 kB a server stops
 * sending large answers whenever this process is busy with the one before. No more memory: answers are taken whole.
 */
const HTTP2_WINDOWS = { initialWindowSize: 8 * 1_048_576, connectionWindowSize: 32 * 1_048_576 };

export interface HttpPoolOptions {
  /** Highest number of sockets to this origin at once. */
  readonly connections: number;
  /** Limit of the TCP and TLS handshakes together. The caller's deadline, where shorter, wins. */
  readonly connectTimeoutMs: number;
  /** A connector of one's own, for TLS settings that are read again for each connection. */
  readonly connect?: buildConnector.connector;
  /** How long an unused connection is kept open. Default: undici's 4 s. */
  readonly idleTimeoutMs?: number;
  /** Speak HTTP/2 (in plain text without asking first) instead of HTTP/1.1, as gRPC needs. Default: no. */
  readonly http2?: boolean;
}

/** A pool of keep-alive connections to one origin, HTTP/1.1 unless told otherwise. It never follows redirects and reads no proxy variables. */
export function openHttpPool(origin: string, options: HttpPoolOptions): HttpPool {
  const settings: Pool.Options & { useH2c: boolean; h2Options: typeof HTTP2_WINDOWS } = {
    connections: options.connections,
    // On HTTP/2 this is the number of streams at once.
    pipelining: options.http2 ? 16 : 1,
    // etcd serves gRPC on h2 and the JSON gateway on HTTP/1.1 of the same port; IMDS and ecs-agent speak HTTP/1.1 only.
    allowH2: options.http2 ?? false,
    useH2c: options.http2 ?? false,
    h2Options: HTTP2_WINDOWS,
    connect: options.connect ?? { timeout: options.connectTimeoutMs },
    ...(options.idleTimeoutMs === undefined ? {} : { keepAliveTimeout: options.idleTimeoutMs }),
    // The deadlines of the callers rule; a streamed answer (a watch) may be silent for long.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  return new Pool(origin, settings);
}
