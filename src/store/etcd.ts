import type { EtcdStoreConfig } from '../config/store-config.ts';
import { openHttpPool } from '../net/http-pool.ts';
import type { Clock } from '../timing/clock.ts';
import type { EtcdContext } from './etcd/etcd-context.ts';
import { openGateway } from './etcd/gateway.ts';
import { etcdLeases } from './etcd/leases.ts';
import { etcdRange } from './etcd/range.ts';
import { etcdStoreId } from './etcd/store-id.ts';
import { tlsConnector } from './etcd/tls-connector.ts';
import { etcdTxn } from './etcd/txn.ts';
import { etcdWatch } from './etcd/watch.ts';
import { createWitness } from './etcd/witness.ts';
import type { Kv } from './kv.ts';

const REQUEST_TIMEOUT_MS = 2_500;
/** Per endpoint. Opened as they are needed; a watch holds one of them. */
const MAX_CONNECTIONS = 32;
/** Longer than the time between two beats, so that a beat does not cost etcd a TLS handshake. */
const IDLE_TIMEOUT_MS = 60_000;

export interface EtcdDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  /** The longest a call may take over all endpoints together. Default 2,500. */
  readonly requestTimeoutMs?: number;
}

/**
 * A store on etcd 3.4 to 3.6, through its JSON gateway; large reads take etcd's own gRPC where they can. Opens no
 * connection before the first call.
 */
export function openEtcdKv(config: EtcdStoreConfig, deps: EtcdDeps): Kv {
  const requestTimeoutMs = deps.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  const root = `${config.prefix}/`;
  const context: EtcdContext = { user: config.credentials?.user ?? null, root, tls: config.tls };
  const tls = config.tls ?? { caFile: null, certFile: null, keyFile: null };
  const openPool = (url: string, connections: number, http2: boolean) =>
    openHttpPool(url, {
      connections,
      http2,
      connectTimeoutMs: requestTimeoutMs,
      idleTimeoutMs: IDLE_TIMEOUT_MS,
      ...(url.startsWith('https:') ? { connect: tlsConnector(tls, deps.clock, requestTimeoutMs, http2) } : {}),
    });
  const endpoints = config.endpoints.map((url) => ({
    url,
    pool: openPool(url, MAX_CONNECTIONS, false),
    grpcPool: openPool(url, 1, true),
  }));
  const witness = createWitness(root);
  const gateway = openGateway(endpoints, config.credentials, { ...deps, requestTimeoutMs, context });
  return {
    label: config.label,
    id: etcdStoreId(gateway, root),
    ...etcdLeases(gateway),
    range: etcdRange(gateway, { clock: deps.clock, root, witness }),
    txn: etcdTxn(gateway, root),
    watch: etcdWatch(gateway, { clock: deps.clock, context, witness }),
    close: async () => {
      await Promise.all(endpoints.flatMap(({ pool, grpcPool }) => [pool.destroy(), grpcPool.destroy()]));
    },
  };
}
