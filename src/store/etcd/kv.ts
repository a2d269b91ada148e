import type { Clock } from '../../lib/clock.ts';
import { DeadlineError } from '../../lib/deadline.ts';
import { BodyTooLargeError, openHttpPool } from '../../lib/http-client.ts';
import { LeaseNotFoundError, StoreError } from '../errors.ts';
import type { Guard, Kv, LeaseTime, RangePage, RangeQuery, Txn, TxnResult } from '../kv.ts';
import type { EtcdStoreConfig } from '../store-url.ts';
import { type Endpoint, type Gateway, MAX_ANSWER_BYTES, openGateway, post } from './client.ts';
import {
  type EtcdContext,
  flagField,
  GatewayRefusal,
  headerRevision,
  int64Field,
  type JsonObject,
  JunkAnswerError,
  objectField,
  objectsField,
  textField,
} from './errors.ts';
import { createWitness, type Witness } from './freshness.ts';
import {
  fromBase64,
  grpcRange,
  keyAfter,
  parseKeyValue,
  parseRangeEntry,
  prefixEnd,
  type RawPage,
  toBase64,
} from './messages.ts';
import { tlsConnector } from './tls.ts';
import { etcdWatch } from './watch.ts';

/**
 * Keys per page. etcd walks the index of all keys after the first for every page, so many small pages cost it more than
 * their answers; 5,000 ordinary keys are 2 to 8 MB of JSON.
 */
const PAGE_KEYS = 5_000;

/** Marks a cursor whose key is no UTF-8, which only a foreign key can be; no key of ours starts so. */
const RAW_CURSOR = '\0base64:';

/**
 * How long an endpoint is not asked over gRPC after it gave no answer there. Where a proxy speaks HTTP/1.1 only this
 * costs one connection each time; a connection that somebody on the way forgot is closed by then, being idle.
 */
const GRPC_PAUSE_MS = 600_000;

interface RangeDeps {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** What every key of ours starts with. */
  readonly root: string;
  readonly witness: Witness;
}

/** Queries without a limit are expected to be large, and take etcd's gRPC where it answers. */
export function etcdRange(gateway: Gateway, { clock, root, witness }: RangeDeps): Kv['range'] {
  const grpcAgainAtMs = new Map<Endpoint, number>();
  const pauseGrpc = (endpoint: Endpoint) => grpcAgainAtMs.set(endpoint, clock.monotonicMs() + GRPC_PAUSE_MS);
  const mayTryGrpc = (endpoint: Endpoint) => clock.monotonicMs() >= (grpcAgainAtMs.get(endpoint) ?? -Infinity);

  /** null where gRPC does not get through. */
  const grpcPage = async (
    endpoint: Endpoint,
    headers: Readonly<Record<string, string>>,
    range: Parameters<typeof grpcRange>[2],
    signal: AbortSignal,
  ): Promise<RawPage | null> => {
    try {
      return await grpcRange(endpoint, headers, range, root, MAX_ANSWER_BYTES, signal);
    } catch (error) {
      if (signal.aborted && signal.reason instanceof DeadlineError) pauseGrpc(endpoint);
      if (signal.aborted || isAnswerOfEtcd(error)) throw error;
      return null;
    }
  };

  const page = (query: RangeQuery, limit: number, signal: AbortSignal): Promise<RangePage> => {
    const key = query.from === undefined ? toBase64(root + query.prefix) : cursorKey(query.from, root);
    const rangeEnd = query.to === undefined ? prefixEnd(root + query.prefix) : toBase64(root + query.to);
    return gateway.run({ repeatable: true }, signal, async (endpoint, headers, attemptSignal) => {
      const tryGrpc = query.limit === undefined && mayTryGrpc(endpoint);
      if (tryGrpc) {
        const range = { key: bytes(key), rangeEnd: bytes(rangeEnd), limit, revision: query.revision ?? '0' };
        const raw = await grpcPage(endpoint, headers, range, attemptSignal);
        if (raw) return rawPage(raw, root, query);
      }
      const revision = query.revision === undefined ? {} : { revision: query.revision };
      const body = { key, range_end: rangeEnd, limit: String(limit), ...revision };
      const parsed = parsePage(
        await post(endpoint, '/v3/kv/range', body, headers, attemptSignal),
        root,
        query.revision,
      );
      // Only now is it certain that gRPC is what failed, and not the endpoint.
      if (tryGrpc) pauseGrpc(endpoint);
      return parsed;
    });
  };

  return async (query, signal) => {
    for (let limit = Math.min(query.limit ?? PAGE_KEYS, PAGE_KEYS); ; limit = Math.floor(limit / 2)) {
      try {
        const answer = await page(query, limit, signal);
        witness.sawKeys(answer.revision, answer.kvs);
        return answer;
      } catch (error) {
        // Values may be up to 1.5 MB each: ask for fewer. A single one always fits.
        const tooLarge = error instanceof StoreError && error.cause instanceof BodyTooLargeError;
        if (!tooLarge || limit === 1) throw error;
      }
    }
  };
}

/** gRPC's "unimplemented": something that speaks gRPC, and is no etcd. */
const UNIMPLEMENTED = 12;

/** Any other failure is of the connection over HTTP/2, or of something else that answered it. */
function isAnswerOfEtcd(error: unknown): boolean {
  if (error instanceof GatewayRefusal) return error.code !== UNIMPLEMENTED;
  return error instanceof BodyTooLargeError || error instanceof StoreError;
}

function rawPage(page: RawPage, root: string, query: RangeQuery): RangePage {
  if (page.more && page.lastKey === null) throw new JunkAnswerError('the answer promises more keys after none');
  const next = page.more && page.lastKey ? cursor(keyAfter(page.lastKey.toString('base64')), root) : null;
  return { revision: query.revision ?? page.revision, kvs: page.kvs, next };
}

function bytes(base64: string): Buffer {
  return Buffer.from(base64, 'base64');
}

function parsePage(answer: JsonObject, root: string, revision: string | undefined): RangePage {
  const kvs = objectsField(answer, 'kvs');
  const more = flagField(answer, 'more');
  const last = kvs.at(-1);
  if (more && last === undefined) throw new JunkAnswerError('the answer promises more keys after none');
  return {
    revision: revision ?? headerRevision(answer),
    kvs: kvs.map((kv) => parseRangeEntry(kv, root)),
    next: more && last ? cursor(keyAfter(textField(last, 'key')), root) : null,
  };
}

/** Where the next page starts, as a key without `root` if its bytes survive that, or else as they are. */
function cursor(keyBase64: string, root: string): string {
  const key = fromBase64(keyBase64);
  return toBase64(key) === keyBase64 ? key.slice(root.length) : RAW_CURSOR + keyBase64;
}

function cursorKey(from: string, root: string): string {
  return from.startsWith(RAW_CURSOR) ? from.slice(RAW_CURSOR.length) : toBase64(root + from);
}

/** Of a sample of leases asked for at the same time: some at once, not a new connection for each. */
const PARALLEL_QUESTIONS = 8;

/** Lease ids are etcd's, as decimal text. */
export function etcdLeases(gateway: Gateway): Pick<Kv, 'grant' | 'keepAlive' | 'remaining' | 'releaseEmpty'> {
  return {
    grant: (ttlMs, signal) => {
      const body = { TTL: String(Math.ceil(ttlMs / 1_000)) };
      // Granted twice, the one that nobody heard of runs out by itself.
      return gateway.call({ path: '/v3/lease/grant', body, repeatable: true }, signal, (answer) => {
        const lease = int64Field(answer, 'ID');
        const grantedMs = Number(int64Field(answer, 'TTL')) * 1_000;
        if (lease === '0' || grantedMs <= 0) throw new JunkAnswerError('the answer grants no lease');
        return { lease, ttlMs: grantedMs };
      });
    },

    keepAlive: (lease, signal) =>
      gateway.call({ path: '/v3/lease/keepalive', body: { ID: lease }, repeatable: true }, signal, (answer) => {
        requireAbout(lease, answer);
        // A lease that is gone is answered with 200 and no TTL (observed on 3.4).
        return int64Field(answer, 'TTL') !== '0';
      }),

    remaining: async (leases, signal) => {
      const times: (LeaseTime | null)[] = [];
      for (let first = 0; first < leases.length; first += PARALLEL_QUESTIONS) {
        const some = leases.slice(first, first + PARALLEL_QUESTIONS);
        times.push(...(await Promise.all(some.map((lease) => timeToLive(gateway, lease, signal)))));
      }
      return times;
    },

    // Two steps, because etcd has no "revoke if empty". A write that is still on its way could attach keys in between:
    // the caller must know that none is.
    releaseEmpty: async (lease, signal) => {
      const asked = { path: '/v3/lease/timetolive', body: { ID: lease, keys: true }, repeatable: true };
      const empty = await gateway.call(asked, signal, (answer) => {
        const keys = answer['keys'];
        return int64Field(answer, 'TTL') !== '-1' && (!Array.isArray(keys) || keys.length === 0);
      });
      if (!empty) return;
      try {
        await gateway.call({ path: '/v3/lease/revoke', body: { ID: lease }, repeatable: true }, signal, () => {});
      } catch (error) {
        if (!(error instanceof LeaseNotFoundError)) throw error;
      }
    },
  };
}

/** Answered from the leader's memory, without a Raft write. */
function timeToLive(gateway: Gateway, lease: string, signal: AbortSignal): Promise<LeaseTime | null> {
  return gateway.call({ path: '/v3/lease/timetolive', body: { ID: lease }, repeatable: true }, signal, (answer) => {
    requireAbout(lease, answer);
    const remainingS = Number(int64Field(answer, 'TTL'));
    // Whole seconds, rounded down; a lease that is gone has -1 of them (observed on 3.4).
    if (remainingS < 0) return null;
    return { remainingMs: remainingS * 1_000 + 500, grantedMs: Number(int64Field(answer, 'grantedTTL')) * 1_000 };
  });
}

/** Without it, `{}` from something that is no etcd would read as "gone" and make a healthy node register again. */
function requireAbout(lease: string, answer: JsonObject): void {
  if (int64Field(answer, 'ID') !== lease) {
    throw new JunkAnswerError('the answer is not about the lease that was asked for');
  }
}

/** @param root what every key of ours starts with */
export function etcdTxn(gateway: Gateway, root: string): Kv['txn'] {
  return (txn, signal) => {
    // A write that may have been carried out is not sent again here: its guards would then fail on its own doing.
    const repeatable = txn.puts.length === 0 && txn.deletes.length === 0;
    return gateway.call({ path: '/v3/kv/txn', body: txnBody(txn, root), repeatable }, signal, (answer) =>
      parseTxn(answer, txn.reads.length, root),
    );
  };
}

function txnBody(txn: Txn, root: string): unknown {
  const key = (name: string) => toBase64(root + name);
  // etcd carries out the operations in order within one revision, so reads placed first see the state before the writes.
  const reads = txn.reads.map((name) => ({ request_range: { key: key(name) } }));
  return {
    compare: txn.guards.map((guard) => ({ key: key(guard.key), result: 'EQUAL', ...target(guard) })),
    success: [
      ...reads,
      ...txn.puts.map((put) => ({
        request_put: { key: key(put.key), value: toBase64(put.value), lease: put.lease },
      })),
      ...txn.deletes.map((name) => ({ request_delete_range: { key: key(name) } })),
    ],
    failure: reads,
  };
}

/** A key that does not exist compares as lease 0 and mod revision 0. */
function target(guard: Guard): Readonly<Record<string, string>> {
  return 'lease' in guard
    ? { target: 'LEASE', lease: guard.lease }
    : { target: 'MOD', mod_revision: guard.modRevision };
}

function parseTxn(answer: JsonObject, readCount: number, root: string): TxnResult {
  const responses = objectsField(answer, 'responses');
  if (responses.length < readCount)
    throw new JunkAnswerError('the answer has fewer responses than the transaction has reads');
  return {
    succeeded: flagField(answer, 'succeeded'),
    revision: headerRevision(answer),
    reads: responses.slice(0, readCount).map((response) => {
      const [kv] = objectsField(objectField(response, 'response_range'), 'kvs');
      return kv === undefined ? null : parseKeyValue(kv, root);
    }),
  };
}

/** The cluster's id as `etcdctl member list -w hex` writes it, and the prefix. @param root what every key of ours starts with */
export function etcdStoreId(gateway: Gateway, root: string): Kv['id'] {
  // Every header has the cluster's id. This read needs no more than the permission we have, and no leader.
  const body = { key: toBase64(root), count_only: true, serializable: true };
  return (signal) =>
    gateway.call({ path: '/v3/kv/range', body, repeatable: true }, signal, (answer) => {
      const clusterId = BigInt(int64Field(objectField(answer, 'header'), 'cluster_id'));
      if (clusterId === 0n) throw new JunkAnswerError('the answer names no cluster');
      return `${clusterId.toString(16)}${root.slice(0, -1)}`;
    });
}

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
