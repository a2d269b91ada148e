/**
 * What rollcall needs of a key-value store with revisions and leases, modelled on etcd v3. Each kind of store implements
 * only this; `createRollStore` builds the store's contract on it.
 *
 * All methods reject with a `StoreError` when the store cannot answer within its own request deadline, and with the
 * signal's reason when `signal` aborts. Keys are given and returned without the store's prefix (`v1/records/i-…`).
 */
export interface Kv {
  readonly label: string;

  /** As `Store.id`. */
  id(signal: AbortSignal): Promise<string>;

  /** What keeps the data, for people. What the store does not let this client see is null. */
  server(signal: AbortSignal): Promise<StoreServer>;

  /** The id of the lease with this name: the same in every process that uses this store's prefix. No call of the store. */
  leaseOf(name: string): string;

  /**
   * A new lease. `ttlMs` in the answer is what was granted: at least what was asked.
   * @param lease its id, from `leaseOf`; one that is there already is renewed, with the TTL that it has. So a grant whose
   * answer was lost can be repeated and leaves one lease. Default: an id that the store picks.
   */
  grant(ttlMs: number, signal: AbortSignal, lease?: string): Promise<Granted>;

  /**
   * Renews the lease; false: no such lease. Writes no revision.
   * @param limitMs by then it has asked all the servers there are; default: the store's own deadline
   */
  keepAlive(lease: string, signal: AbortSignal, limitMs?: number): Promise<boolean>;

  /** As `keepAlive`; the TTL in ms that starts anew; null: no such lease. */
  renew(lease: string, signal: AbortSignal): Promise<number | null>;

  /** The remaining time of each lease, in the order of `leases`; null: it is gone. Writes no revision. */
  remaining(leases: readonly string[], signal: AbortSignal): Promise<readonly (LeaseTime | null)[]>;

  /**
   * Ends a lease without keys; does nothing when it has keys. A write that is still on its way may be carried out between
   * the check and the end: its keys are deleted then. @returns whether the lease is gone now
   */
  releaseEmpty(lease: string, signal: AbortSignal): Promise<boolean>;

  /** One page of the keys that start with `prefix`, in byte order, from `from` on. Its size in memory is bounded. */
  range(query: RangeQuery, signal: AbortSignal): Promise<RangePage>;

  /** How many keys start with `prefix`. It costs the store a look at each of them. */
  count(prefix: string, signal: AbortSignal): Promise<number>;

  /**
   * If all `guards` hold, all `puts` and `deletes` happen at one revision; else none. Either way `reads` are answered
   * with the values before the writes.
   * Rejects with `LeaseNotFoundError` when a put names a lease that is gone.
   */
  txn(txn: Txn, signal: AbortSignal): Promise<TxnResult>;

  /** As `Store.watch`, on raw keys. */
  watch(revision: string, signal: AbortSignal): AsyncIterable<KvBatch>;

  /**
   * The changes of a few keys after `revision`, for as long as `signal` lets it: for one that waits for what seldom comes.
   * A batch may be a part of its revision, and none comes to confirm. Rejects as `watch` does.
   */
  watchKeys(keys: readonly string[], revision: string, signal: AbortSignal): AsyncIterable<KvBatch>;

  close(): Promise<void>;
}

export interface Granted {
  readonly lease: string;
  readonly ttlMs: number;
}

/** As exact as the store reports it; for etcd to half a second. */
export interface LeaseTime {
  readonly remainingMs: number;
  readonly grantedMs: number;
}

/** A key of a page. Without its lease: no reader of a range needs it, and a page has up to 5,000 keys. */
export interface RangeEntry {
  readonly key: string;
  readonly value: string;
  readonly modRevision: string;
}

export interface KeyValue extends RangeEntry {
  /** `"0"`: no lease. */
  readonly lease: string;
}

export interface RangeQuery {
  readonly prefix: string;
  /** The first key of the page; default: the first with the prefix. */
  readonly from?: string;
  /** The first key after all pages; default: the first after those with the prefix. */
  readonly to?: string;
  /** At most so many keys; the store may have a lower bound of its own. */
  readonly limit?: number;
  /** The texts of the entries may be cut out of the answer, which each then keeps in memory: for a reader that ends soon. */
  readonly cut?: boolean;
  /** Read at this revision; default: the newest. Rejects with `CompactedError` when it is gone. */
  readonly revision?: string;
}

export interface RangePage {
  readonly revision: string;
  readonly kvs: readonly RangeEntry[];
  /** Where the next page starts; null on the last. */
  readonly next: string | null;
}

export type Guard =
  /** A key that does not exist has no value, and equals none. */
  | { readonly key: string; readonly value: string }
  /** `"0"`: the key does not exist. */
  | { readonly key: string; readonly modRevision: string };

export interface Txn {
  readonly guards: readonly Guard[];
  readonly puts: readonly { readonly key: string; readonly value: string; readonly lease: string }[];
  readonly deletes: readonly string[];
  readonly reads: readonly string[];
}

export interface TxnResult {
  readonly succeeded: boolean;
  readonly revision: string;
  /** In the order of `Txn.reads`; null where there is no such key. */
  readonly reads: readonly (KeyValue | null)[];
}

export interface StoreServer {
  /** Such as `etcd 3.5.9` or `SQLite 3.46.1`. */
  readonly version: string | null;
  /** Names of the members of the cluster; null: there is none, or it is not known. */
  readonly members: readonly string[] | null;
  /** The member that leads. */
  readonly leader: string | null;
}

export interface KvEvent {
  readonly key: string;
  /** null: deleted, or its lease ran out. */
  readonly value: string | null;
  readonly previous: string | null;
}

/** All events of one revision, or a confirmation without events. */
export interface KvBatch {
  readonly revision: string;
  readonly events: readonly KvEvent[];
  /**
   * In a confirmation, and in no other batch: how long ago the store was asked whether there is anything newer. Events
   * say nothing about that: a member that lags sends them late.
   */
  readonly confirmedMsAgo?: number;
}

/**
 * Starts to end leases that have no keys any more, each within the store's own deadline. The caller does not wait: a
 * registration that happened must not fail or be delayed by this.
 */
export function releaseLeases(kv: Kv, leases: readonly string[]): void {
  const { signal } = new AbortController();
  for (const lease of new Set(leases)) {
    // A failure does no harm: a lease without keys ends by itself.
    if (lease !== '0') kv.releaseEmpty(lease, signal).catch(() => {});
  }
}
