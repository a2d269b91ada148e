import type { buildConnector } from 'undici';
import request from 'undici/lib/api/api-request.js';
import Dispatcher from 'undici/lib/dispatcher/dispatcher.js';
import Pool from 'undici/lib/dispatcher/pool.js';

// What undici's own index does to give every dispatcher its `request`; see undici-deep.d.ts for why not the index.
Object.assign(Dispatcher.prototype, { request });

export type HttpPool = Pool;

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
  const settings: Pool.Options & { useH2c: boolean } = {
    connections: options.connections,
    // On HTTP/2 this is the number of streams at once.
    pipelining: options.http2 ? 16 : 1,
    // etcd serves gRPC on h2 and the JSON gateway on HTTP/1.1 of the same port; IMDS and ecs-agent speak HTTP/1.1 only.
    allowH2: options.http2 ?? false,
    useH2c: options.http2 ?? false,
    connect: options.connect ?? { timeout: options.connectTimeoutMs },
    ...(options.idleTimeoutMs === undefined ? {} : { keepAliveTimeout: options.idleTimeoutMs }),
    // The deadlines of the callers rule; a streamed answer (a watch) may be silent for long.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  return new Pool(origin, settings);
}
