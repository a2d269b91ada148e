import { RpcError } from '../../../src/store/etcd/channel.ts';
import {
  COMPARE_VALUE,
  LEASE_GRANT,
  LEASE_KEEP_ALIVE,
  LEASE_REVOKE,
  LEASE_TIME_TO_LIVE,
  RANGE,
  TXN,
} from '../../../src/store/etcd/rpc.ts';
import { CompactedRevision, type Data, FutureRevision, type Stored, type Write } from './data.ts';
import type { Lessor } from './leader.ts';

/** What a request does to the cluster. */
export interface RequestContext {
  readonly data: Data;
  readonly lessor: Lessor;
  /** Its database has no room for more. */
  readonly full: boolean;
  /** Carries out writes at one revision, and tells the watchers. */
  readonly commit: (writes: readonly Write[]) => void;
  readonly revoke: (lease: string) => void;
}

export const CLUSTER_ID = '7199864935238';

/** Whether the request is one that every member carries out, and not only the leader. */
export function isWrite(path: string, message: Buffer): boolean {
  if (path === LEASE_GRANT.path || path === LEASE_REVOKE.path) return true;
  if (path !== TXN.path) return false;
  return decodedTxn(message).success.some(({ requestRange }) => requestRange === null);
}

/** What was decoded last: each is asked for twice in turn. */
let lastTxn: { readonly message: Buffer; readonly request: ReturnType<typeof TXN.request.decode> } | null = null;

function decodedTxn(message: Buffer) {
  if (lastTxn?.message !== message) lastTxn = { message, request: TXN.request.decode(message) };
  return lastTxn.request;
}

/** Answers one request as a member with a leader does. @throws RpcError with etcd's own codes and texts */
export function answer(path: string, message: Buffer, context: RequestContext): Buffer {
  switch (path) {
    case LEASE_KEEP_ALIVE.path: {
      const id = keptLease(message);
      return keptAnswer(id, context.lessor.renew(id));
    }
    case RANGE.path:
      return range(RANGE.request.decode(message), context);
    case TXN.path:
      return txn(decodedTxn(message), context);
    case LEASE_GRANT.path:
      return grant(LEASE_GRANT.request.decode(message), context);
    case LEASE_REVOKE.path: {
      const { id } = LEASE_REVOKE.request.decode(message);
      if (!context.data.leases().has(id)) throw leaseNotFound();
      context.revoke(id);
      return LEASE_REVOKE.response.encode({});
    }
    case LEASE_TIME_TO_LIVE.path: {
      const { id, keys } = LEASE_TIME_TO_LIVE.request.decode(message);
      const lease = context.data.leases().get(id);
      const remainingMs = context.lessor.remainingMs(id);
      if (!lease || remainingMs === null) return LEASE_TIME_TO_LIVE.response.encode({ id, ttl: '-1' });
      return LEASE_TIME_TO_LIVE.response.encode({
        id,
        ttl: String(Math.floor(remainingMs / 1_000)),
        grantedTtl: String(lease.ttlSeconds),
        keys: keys ? [...lease.keys] : [],
      });
    }
    default:
      throw new RpcError(12, `unknown method ${path}`, true, undefined);
  }
}

/** Of heartbeats and their answers, which are nearly all that is sent, the same few come again and again. */
const MAX_KNOWN = 10_000;
const keptLeases = new WeakMap<Buffer, string>();
const keptAnswers = new Map<string, { readonly ttlSeconds: number; readonly encoded: Buffer }>();

/** The lease that a heartbeat names. */
export function keptLease(message: Buffer): string {
  const before = keptLeases.get(message);
  if (before !== undefined) return before;
  const { id } = LEASE_KEEP_ALIVE.request.decode(message);
  keptLeases.set(message, id);
  return id;
}

function keptAnswer(id: string, ttlSeconds: number): Buffer {
  const last = keptAnswers.get(id);
  if (last?.ttlSeconds === ttlSeconds) return last.encoded;
  const encoded = LEASE_KEEP_ALIVE.response.encode({ id, ttl: String(ttlSeconds) });
  if (keptAnswers.size >= MAX_KNOWN) keptAnswers.clear();
  keptAnswers.set(id, { ttlSeconds, encoded });
  return encoded;
}

function header(data: Data) {
  return { clusterId: CLUSTER_ID, revision: String(data.revision()) };
}

function leaseNotFound(): RpcError {
  return new RpcError(5, 'etcdserver: requested lease not found', true, undefined);
}

function noSpace(): RpcError {
  return new RpcError(8, 'etcdserver: mvcc: database space exceeded', true, undefined);
}

function range(request: ReturnType<typeof RANGE.request.decode>, { data }: RequestContext): Buffer {
  const { key, rangeEnd, limit, revision, keysOnly, countOnly, minModRevision } = request;
  const end = rangeEnd.length === 0 ? null : rangeEnd.toString('utf8');
  try {
    const { kvs, count } = data.range({
      from: key.toString('utf8'),
      end,
      revision: Number(revision),
      minModRevision: Number(minModRevision),
    });
    const page = Number(limit) === 0 ? kvs : kvs.slice(0, Number(limit));
    const rest = { header: header(data), more: page.length < kvs.length, count: String(count) };
    // Fields of protobuf may come in any order.
    return Buffer.concat([RANGE.response.encode(rest), ...(countOnly ? [] : page.map((kv) => entry(kv, keysOnly)))]);
  } catch (error) {
    if (error instanceof CompactedRevision) {
      throw new RpcError(11, 'etcdserver: mvcc: required revision has been compacted', true, undefined);
    }
    if (error instanceof FutureRevision) {
      throw new RpcError(11, 'etcdserver: mvcc: required revision is a future revision', true, undefined);
    }
    throw error;
  }
}

/** Encoding one takes longer than everything else in an answer, and the same ones are asked for again and again. */
const entries = new WeakMap<Stored, Buffer>();

function entry(kv: Stored, keysOnly: boolean): Buffer {
  const known = keysOnly ? undefined : entries.get(kv);
  if (known) return known;
  const { key, value, modRevision } = kv;
  const encoded = RANGE.response.encode({
    kvs: [{ key, modRevision: String(modRevision), value: keysOnly ? '' : value }],
  });
  if (!keysOnly) entries.set(kv, encoded);
  return encoded;
}

function txn(request: ReturnType<typeof TXN.request.decode>, { data, full, commit }: RequestContext): Buffer {
  const succeeded = request.compare.every(({ target, key, value, modRevision }) => {
    const stored = data.get(key.toString('utf8'));
    // A key that does not exist has no value to compare with.
    if (target === COMPARE_VALUE) return stored !== null && stored.value === value.toString('utf8');
    return (stored?.modRevision ?? 0) === Number(modRevision);
  });
  const operations = succeeded ? request.success : request.failure;
  const writes: Write[] = [];
  const responses = operations.map(({ requestRange, requestPut, requestDeleteRange }) => {
    if (requestPut) {
      const { key, value, lease } = requestPut;
      if (full) throw noSpace();
      if (lease !== '0' && !data.leases().has(lease)) throw leaseNotFound();
      writes.push({ key: key.toString('utf8'), value: value.toString('utf8'), lease });
      return {};
    }
    if (requestDeleteRange) {
      writes.push({ key: requestDeleteRange.key.toString('utf8'), value: null, lease: '0' });
      return {};
    }
    const stored = data.get(requestRange?.key.toString('utf8') ?? '');
    return { responseRange: { kvs: stored ? [encodable(stored)] : [] } };
  });
  if (writes.length > 0) commit(writes);
  return TXN.response.encode({ header: header(data), succeeded, responses });
}

function grant({ id, ttl }: { id: string; ttl: string }, { data, lessor, full }: RequestContext): Buffer {
  if (full) throw noSpace();
  let lease = id;
  for (let free = data.revision() * 1_000 + 1; lease === '0'; free += 1) {
    if (!data.leases().has(String(free))) lease = String(free);
  }
  if (data.leases().has(lease)) throw new RpcError(9, 'etcdserver: lease already exists', true, undefined);
  // As etcd does with its default election timeout.
  data.grant(lease, Math.max(Number(ttl), 2));
  lessor.granted(lease);
  return LEASE_GRANT.response.encode({ id: lease, ttl: String(data.leases().get(lease)?.ttlSeconds ?? 0) });
}

export function encodable({ key, value, createRevision, modRevision, lease }: Stored) {
  return { key, value, createRevision: String(createRevision), modRevision: String(modRevision), lease };
}
