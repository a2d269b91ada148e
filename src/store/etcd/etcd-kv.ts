import { createHash } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { printable } from '../../lib/foreign-text.ts';
import type { Granted, Guard, KeyValue, Kv, LeaseTime, RangePage, RangeQuery, Txn } from '../kv.ts';
import { LeaseNotFoundError, StoreError } from '../store-errors.ts';
import { DEFAULT_CALL_TIMEOUT_MS, type EtcdStoreConfig } from '../store-url.ts';
import { ALONE, lookupMember, membersOf, type NamedMember, type Resolve, systemResolve } from './addresses.ts';
import { openChannel } from './channel.ts';
import { rangeBelow } from './cut-range.ts';
import { type EtcdClient, openEtcdClient } from './etcd-client.ts';
import { type EtcdContext, isAnswerTooLarge, isLeaseTaken, JunkAnswerError } from './etcd-errors.ts';
import { etcdWatch, etcdWatchKeys } from './etcd-watch.ts';
import { createHistoryCheck, type HistoryCheck } from './freshness.ts';
import { prefixEnd, revisionOf, withoutRoot } from './key-range.ts';
import { createLeaseRenewal, requireAbout } from './lease-renewal.ts';
import {
  COMPARE_MOD,
  COMPARE_VALUE,
  LEASE_GRANT,
  LEASE_REVOKE,
  LEASE_TIME_TO_LIVE,
  MEMBER_LIST,
  RANGE,
  RangeKeys,
  STATUS,
  TXN,
} from './rpc.ts';

/** May go to another endpoint after it failed at one. */
const REPEATABLE = { repeatable: true };

/**
 * Keys per page. etcd walks the index of all keys after the first for every page, so many small pages cost it more than
 * their answers; 5,000 ordinary keys are 2 to 5 MB.
 */
const PAGE_KEYS = 5_000;

/** Marks a cursor whose key is no UTF-8, which only a foreign key can be; no key of ours starts so. */
const RAW_CURSOR = '\0base64:';

/** @param root what every key of ours starts with */
function etcdRange(client: EtcdClient, root: string, history: HistoryCheck): Kv['range'] {
  const [whole, cut] = [rangeBelow(root, false), rangeBelow(root, true)];
  const page = (query: RangeQuery, limit: number, signal: AbortSignal): Promise<RangePage> => {
    const request = {
      key: query.from === undefined ? root + query.prefix : cursorKey(query.from, root),
      rangeEnd: query.to === undefined ? prefixEnd(root + query.prefix) : root + query.to,
      limit: String(limit),
      revision: query.revision ?? '0',
    };
    const how = { repeatable: true, right: `read ${root}${query.prefix}` };
    return client.call(query.cut ? cut : whole, request, how, signal, (answer, bytes) => {
      const now = revisionOf(answer);
      const next = answer.more ? cursorAfter(answer.kvs.at(-1)?.key, bytes) : null;
      return { revision: query.revision ?? now, kvs: answer.kvs, next };
    });
  };

  return async (query, signal) => {
    for (let limit = Math.min(query.limit ?? PAGE_KEYS, PAGE_KEYS); ; limit = Math.floor(limit / 2)) {
      try {
        const answer = await page(query, limit, signal);
        history.sawKeys(answer.revision, answer.kvs);
        return answer;
      } catch (error) {
        // Values may be up to 1.5 MB each: ask for fewer. A single one always fits.
        const tooLarge = error instanceof StoreError && isAnswerTooLarge(error.cause);
        if (!tooLarge || limit === 1) throw error;
      }
    }
  };
}

/** Where the next page starts: a key without `root` if its bytes survive that, or else as they are. */
function cursorAfter(lastKey: string | undefined, answer: Buffer): string {
  if (lastKey === undefined) throw new JunkAnswerError('the answer promises more keys after none');
  if (!lastKey.includes('\ufffd')) return `${lastKey}\0`;
  const raw = RangeKeys.decode(answer).kvs.at(-1)?.key ?? Buffer.alloc(0);
  return RAW_CURSOR + Buffer.concat([raw, Buffer.of(0)]).toString('base64');
}

function cursorKey(from: string, root: string): Buffer | string {
  return from.startsWith(RAW_CURSOR) ? Buffer.from(from.slice(RAW_CURSOR.length), 'base64') : root + from;
}

/** Of a sample of leases asked for at the same time. */
const PARALLEL_QUESTIONS = 8;

type Leases = Pick<Kv, 'leaseOf' | 'grant' | 'keepAlive' | 'renew' | 'remaining' | 'releaseEmpty'>;

/** The name of a lease that is never granted. */
const NO_LEASE = 'no lease';

/** How often a grant may find its lease both taken and gone: one that has just run out is in the way until it is revoked. */
const MAX_GRANTS = 3;

/** Lease ids are etcd's, as decimal text. @param root what every key of ours starts with */
function etcdLeases(client: EtcdClient, root: string, clock: Clock, requestTimeoutMs: number): Leases {
  /** Answered from the leader's memory, without a Raft write. */
  const timeToLive = (lease: string, signal: AbortSignal): Promise<LeaseTime | null> =>
    client.call(LEASE_TIME_TO_LIVE, { id: lease }, REPEATABLE, signal, ({ id, ttl, grantedTtl }) => {
      requireAbout(lease, id);
      // Whole seconds, rounded down; a lease that is gone has -1 of them.
      return Number(ttl) < 0 ? null : { remainingMs: Number(ttl) * 1_000 + 500, grantedMs: Number(grantedTtl) * 1_000 };
    });

  const grantNew = (ttlMs: number, id: string, signal: AbortSignal): Promise<Granted> =>
    client.call(LEASE_GRANT, { ttl: String(Math.ceil(ttlMs / 1_000)), id }, REPEATABLE, signal, (answer) => {
      if (answer.id === '0' || Number(answer.ttl) <= 0) throw new JunkAnswerError('the answer grants no lease');
      return { lease: answer.id, ttlMs: Number(answer.ttl) * 1_000 };
    });

  // 63 bits, and never 0, which stands for an id that etcd picks.
  const leaseOf = (name: string) =>
    String((createHash('sha256').update(`${root}\0${name}`).digest().readBigUInt64BE() >> 1n) | 1n);

  const { renew, heartbeat } = createLeaseRenewal(client, {
    clock,
    answerLimitMs: requestTimeoutMs,
    noLease: leaseOf(NO_LEASE),
  });

  return {
    leaseOf,

    grant: async (ttlMs, signal, lease) => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await grantNew(ttlMs, lease ?? '0', signal);
        } catch (error) {
          if (lease === undefined || attempt === MAX_GRANTS || !isLeaseTaken(error)) throw error;
        }
        const renewedMs = await renew(lease, signal);
        if (renewedMs !== null) return { lease, ttlMs: renewedMs };
      }
    },

    keepAlive: async (lease, signal, limitMs) => (await heartbeat(lease, signal, limitMs)) !== null,
    renew,

    remaining: async (leases, signal) => {
      const times: (LeaseTime | null)[] = [];
      for (let first = 0; first < leases.length; first += PARALLEL_QUESTIONS) {
        const some = leases.slice(first, first + PARALLEL_QUESTIONS);
        times.push(...(await Promise.all(some.map((lease) => timeToLive(lease, signal)))));
      }
      return times;
    },

    // Two steps, because etcd has no "revoke if empty".
    releaseEmpty: async (lease, signal) => {
      const asked = { id: lease, keys: true };
      const is = await client.call(LEASE_TIME_TO_LIVE, asked, REPEATABLE, signal, ({ id, ttl, keys }) => {
        requireAbout(lease, id);
        if (ttl === '-1') return 'gone';
        return keys.length === 0 ? 'empty' : 'used';
      });
      if (is !== 'empty') return is === 'gone';
      try {
        await client.call(LEASE_REVOKE, { id: lease }, REPEATABLE, signal, () => {});
      } catch (error) {
        if (!(error instanceof LeaseNotFoundError)) throw error;
      }
      return true;
    },
  };
}

/** @param root what every key of ours starts with */
function etcdTxn(client: EtcdClient, root: string): Kv['txn'] {
  return (txn, signal) => {
    // A write that may have been carried out is not sent again here: its guards would then fail on its own doing.
    const repeatable = txn.puts.length === 0 && txn.deletes.length === 0;
    const written = [...txn.puts.map(({ key }) => key), ...txn.deletes];
    const right = `${repeatable ? 'read' : 'write'} ${(repeatable ? txn.reads : written).map((key) => root + key).join(' and ')}`;
    return client.call(TXN, txnRequest(txn, root), { repeatable, right }, signal, (answer) => {
      const { responses } = answer;
      if (responses.length < txn.reads.length)
        throw new JunkAnswerError('the answer has fewer responses than the transaction has reads');
      return {
        succeeded: answer.succeeded,
        revision: revisionOf(answer),
        reads: responses.slice(0, txn.reads.length).map(({ responseRange }): KeyValue | null => {
          const kv = responseRange?.kvs[0];
          if (kv === undefined) return null;
          const { key, value, modRevision, lease } = kv;
          return { key: withoutRoot(key, root), value, modRevision, lease };
        }),
      };
    });
  };
}

function txnRequest(txn: Txn, root: string): Parameters<typeof TXN.request.encode>[0] {
  // etcd carries out the operations in order within one revision, so reads placed first see the state before the writes.
  const reads = txn.reads.map((name) => ({ requestRange: { key: root + name } }));
  return {
    compare: txn.guards.map((guard) => compare(guard, root)),
    success: [
      ...reads,
      ...txn.puts.map(({ key, value, lease }) => ({ requestPut: { key: root + key, value, lease } })),
      ...txn.deletes.map((name) => ({ requestDeleteRange: { key: root + name } })),
    ],
    failure: reads,
  };
}

/** A key that does not exist has mod revision 0 and equals no value. */
function compare(guard: Guard, root: string) {
  const key = root + guard.key;
  return 'value' in guard
    ? { target: COMPARE_VALUE, key, value: guard.value }
    : { target: COMPARE_MOD, key, modRevision: guard.modRevision };
}

/** @param root what every key of ours starts with */
function etcdCount(client: EtcdClient, root: string): Kv['count'] {
  return (prefix, signal) => {
    const request = { key: root + prefix, rangeEnd: prefixEnd(root + prefix), countOnly: true };
    const how = { repeatable: true, right: `read ${root}${prefix}` };
    return client.call(RANGE, request, how, signal, ({ count }) => Number(count));
  };
}

/** The cluster's id as `etcdctl member list -w hex` writes it, and the prefix. @param root what every key of ours starts with */
function etcdStoreId(client: EtcdClient, root: string): Kv['id'] {
  // Every header has the cluster's id. This read needs no more than the permission we have, and no leader.
  const request = { key: root, countOnly: true, serializable: true };
  return (signal) =>
    client.call(RANGE, request, REPEATABLE, signal, ({ header }) => {
      const clusterId = BigInt.asUintN(64, BigInt(header?.clusterId ?? '0'));
      if (clusterId === 0n) throw new JunkAnswerError('the answer names no cluster');
      return `${clusterId.toString(16)}${root.slice(0, -1)}`;
    });
}

/**
 * Only for people: a member that refuses one of the two, as a proxy or a role may, is not asked again. A refusal of both
 * may be an outage.
 */
function etcdServer(client: EtcdClient): Kv['server'] {
  return async (signal) => {
    const [status, list] = await Promise.allSettled([
      client.call(STATUS, {}, REPEATABLE, signal, ({ version, leader }) => ({ version: boundedName(version), leader })),
      client.call(MEMBER_LIST, {}, REPEATABLE, signal, ({ members }) => members.slice(0, MAX_MEMBERS)),
    ]);
    if (status.status === 'rejected' && list.status === 'rejected') throw status.reason;
    const members = list.status === 'fulfilled' ? list.value : null;
    const leader = status.status === 'fulfilled' ? status.value.leader : null;
    return {
      version: status.status === 'fulfilled' ? `etcd ${status.value.version}` : null,
      members: members?.map(({ name, id }) => boundedName(name || id)) ?? null,
      leader: boundedName(members?.find(({ id }) => id === leader)?.name ?? '') || null,
    };
  };
}

const MAX_MEMBERS = 50;

const boundedName = (name: string) => printable(name).slice(0, 100);

export interface EtcdDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  /** Instead of the configuration's. */
  readonly requestTimeoutMs?: number;
  /** How connections are made; default: over gRPC. A test gives a network of its own. */
  readonly openChannel?: typeof openChannel;
  /** What each endpoint's host stands for; default: one member. */
  readonly members?: readonly (readonly NamedMember[])[];
  readonly resolve?: Resolve;
}

/** As `openEtcdKv`, once it is known how many members the names in the store's URL stand for. */
export async function resolveEtcdKv(config: EtcdStoreConfig, deps: EtcdDeps, signal: AbortSignal): Promise<Kv> {
  const { clock, resolve = systemResolve } = deps;
  const members = await Promise.all(config.endpoints.map((url) => membersOf(url, resolve, clock, signal)));
  return openEtcdKv(config, { ...deps, members });
}

/** A store on etcd 3.2 to 3.6, over gRPC. Opens no connection before the first call, and then one to each endpoint it uses. */
export function openEtcdKv(config: EtcdStoreConfig, deps: EtcdDeps): Kv {
  const { clock, random, requestTimeoutMs = config.callTimeoutMs ?? DEFAULT_CALL_TIMEOUT_MS } = deps;
  const root = `${config.prefix}/`;
  const context: EtcdContext = { user: config.credentials?.user ?? null, root, tls: config.tls };
  const endpoints = config.endpoints.flatMap((url, index) => {
    const tls = url.startsWith('https:') ? (config.tls ?? { caFile: null, certFile: null, keyFile: null }) : null;
    const members = deps.members?.[index] ?? [ALONE];
    return members.map((member) => {
      const lookup = lookupMember(member, deps.resolve ?? systemResolve);
      return { url, tls, channel: (deps.openChannel ?? openChannel)(url, tls, clock, requestTimeoutMs, lookup) };
    });
  });
  const history = createHistoryCheck(root);
  const client = openEtcdClient(endpoints, config.credentials, {
    clock,
    random,
    requestTimeoutMs,
    context,
    // Loaded when it is needed: it brings an HTTP client that a list has no use for.
    explain: async ({ url }, limitMs) =>
      (await import('./version.ts')).explainEndpoint(url, context.tls, clock, limitMs),
  });
  return {
    label: config.label,
    id: etcdStoreId(client, root),
    server: etcdServer(client),
    ...etcdLeases(client, root, clock, requestTimeoutMs),
    range: etcdRange(client, root, history),
    count: etcdCount(client, root),
    txn: etcdTxn(client, root),
    watch: etcdWatch(client, { clock, context, history }),
    watchKeys: etcdWatchKeys(client, context),
    close: async () => {
      for (const { channel } of endpoints) channel.close();
    },
  };
}
