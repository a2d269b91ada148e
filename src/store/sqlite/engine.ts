import type { SQLOutputValue } from 'node:sqlite';
import type { Clock } from '../../lib/clock.ts';
import type { Granted, KeyValue, KvBatch, KvEvent, LeaseTime, RangePage, RangeQuery, Txn, TxnResult } from '../kv.ts';
import { CompactedError, LeaseNotFoundError } from '../store-errors.ts';
import { type Statements, transaction } from './database.ts';

/** A row of the driver, by column name. */
type Row = Record<string, SQLOutputValue>;

/** A row of table `kv`. Revisions and leases are below 2^53: the driver refuses to round. */
interface KvRow {
  readonly key: string;
  readonly value: string;
  readonly lease: number;
  readonly modRevision: number;
}

function kvRow(row: Row): KvRow {
  return {
    key: String(row['key']),
    value: String(row['value']),
    lease: Number(row['lease']),
    modRevision: Number(row['mod_revision']),
  };
}

function keyValue(row: KvRow): KeyValue {
  return { key: row.key, value: row.value, lease: String(row.lease), modRevision: String(row.modRevision) };
}

/** A key's new value (null: deleted) and what it replaces. */
interface Write {
  readonly key: string;
  readonly put: { readonly value: string; readonly lease: number } | null;
  readonly previous: KvRow | null;
}

interface Meta {
  readonly revision: number;
  /** The log no longer has the changes up to this revision. */
  readonly compacted: number;
}

function readMeta(statements: Statements): Meta {
  const row = statements.meta.get();
  return { revision: Number(row?.['revision']), compacted: Number(row?.['compacted']) };
}

function readKey(statements: Statements, key: string): KvRow | null {
  const row = statements.get.get(key);
  return row ? kvRow(row) : null;
}

/**
 * Carries out `writes` at one new revision and logs them; removes the oldest revisions when the log has more than
 * `keptChanges`. Runs inside a transaction. @returns the new revision; without writes the current one
 */
function appendRevision(statements: Statements, writes: readonly Write[], keptChanges: number): number {
  const { revision: current } = readMeta(statements);
  if (writes.length === 0) return current;
  const revision = current + 1;
  for (const { key, put, previous } of writes) {
    if (put) statements.put.run(key, put.value, put.lease, revision);
    else statements.remove.run(key);
    const replaced = [previous?.value ?? null, previous?.lease ?? null, previous?.modRevision ?? null];
    statements.addChange.run(revision, key, put?.value ?? null, ...replaced);
  }
  statements.setRevision.run(revision);
  compact(statements, keptChanges);
  return revision;
}

function compact(statements: Statements, keptChanges: number): void {
  const first = Number(statements.firstChange.get()?.['seq']);
  const last = Number(statements.lastChange.get()?.['seq']);
  // A tenth of slack: deleting many changes at once is cheaper than deleting one with each write.
  if (last - first + 1 <= keptChanges * 1.1) return;
  const upTo = Number(statements.revisionOfChange.get(last - keptChanges)?.['revision']);
  statements.setCompacted.run(upTo);
  statements.removeChangesUpTo.run(upTo);
}

/** @throws CompactedError when the log does not reach back to `revision`, or the revision is not from this store */
function requireKept(statements: Statements, revision: string): number {
  const meta = readMeta(statements);
  const asked = Number(revision);
  if (asked < meta.compacted) {
    throw new CompactedError(`revision ${revision} is compacted; the oldest kept is ${meta.compacted}`);
  }
  if (!(asked <= meta.revision)) {
    throw new CompactedError(`revision ${revision} is not from this store; its newest is ${meta.revision}`);
  }
  return asked;
}

/** A watcher that is far behind gets about this many changes at a time, always in whole revisions. */
export const MAX_CHANGES = 500;

/** The next revisions after `revision`, oldest first; none when it is the newest. Runs inside a transaction. */
function changesAfter(statements: Statements, revision: string): readonly KvBatch[] {
  const after = requireKept(statements, revision);
  const batches: { revision: string; events: KvEvent[] }[] = [];
  if (after === readMeta(statements).revision) return batches;
  let count = 0;
  for (const row of statements.changesAfter.iterate(after)) {
    const at = String(row['revision']);
    if (batches.at(-1)?.revision !== at) {
      if (count >= MAX_CHANGES) break;
      batches.push({ revision: at, events: [] });
    }
    const [value, previous] = [textOrNull(row['value']), textOrNull(row['previous'])];
    batches.at(-1)?.events.push({ key: String(row['key']), value, previous });
    count += 1;
  }
  return batches;
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

/** The boot id where the kernel has none. Leases of an unknown boot end by the wall clock. */
export const UNKNOWN_BOOT = 'unknown';

/** The time of an operation, on both clocks that leases use. */
export interface Now {
  readonly bootId: string;
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export function nowOf(clock: Clock, bootId: string): Now {
  return { bootId, monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
}

/** Most leases to end in one transaction, so that a mass expiry holds the lock only briefly. */
const MAX_EXPIRED_AT_ONCE = 500;

/** When a lease of `ttlMs` that starts now ends, on both clocks. */
function deadlines(now: Now, ttlMs: number) {
  return { bootId: now.bootId, monotonicMs: now.monotonicMs + ttlMs, wallMs: now.wallMs + ttlMs };
}

/** The remaining time of a lease; null: no such lease. */
function leaseTime(statements: Statements, now: Now, lease: string): LeaseTime | null {
  const row = statements.lease.get(lease);
  if (!row) return null;
  const inItsBoot = now.bootId !== UNKNOWN_BOOT && row['boot_id'] === now.bootId;
  const remainingMs = inItsBoot
    ? Number(row['deadline_monotonic_ms']) - now.monotonicMs
    : Number(row['deadline_wall_ms']) - now.wallMs;
  return { remainingMs, grantedMs: Number(row['ttl_ms']) };
}

/**
 * Ends the expired leases and deletes their keys, one revision for each lease. Every operation does this first, so each
 * one sees all expiries up to its time. Until then an expired lease still counts as alive. A lease of an earlier boot whose
 * deadline cannot be true starts anew: a living agent keeps it, a dead one's ends a TTL later, and a record is not lost.
 */
function sweep(statements: Statements, now: Now, keptChanges: number): void {
  // Almost always there is nothing to do, and reading an index takes no lock.
  while (dueLeases(statements, now).length > 0) {
    transaction(statements, 'write', () => {
      for (const { id, ttlMs, isAhead } of dueLeases(statements, now)) {
        if (isAhead) {
          statements.extendLease.run({ id, ...deadlines(now, ttlMs) });
          continue;
        }
        const held = statements.keysOfLease.all(id).map(kvRow);
        const deletions = held.map((row) => ({ key: row.key, put: null, previous: row }));
        appendRevision(statements, deletions, keptChanges);
        statements.removeLease.run(id);
      }
    });
  }
}

interface DueLease {
  readonly id: number;
  readonly ttlMs: number;
  /** Its deadline is further away than its TTL. */
  readonly isAhead: boolean;
}

function dueLeases(statements: Statements, now: Now): DueLease[] {
  const rows = statements.dueLeases.all({
    // No boot has an empty id: if this boot's id is unknown, every lease ends by the wall clock.
    bootId: now.bootId === UNKNOWN_BOOT ? '' : now.bootId,
    monotonicMs: now.monotonicMs,
    wallMs: now.wallMs,
    limit: MAX_EXPIRED_AT_ONCE,
  });
  return rows.map((row) => {
    return { id: Number(row['id']), ttlMs: Number(row['ttl_ms']), isAhead: row['is_ahead'] === 1 };
  });
}

/** Limits of one page. The last key may exceed the characters, so that every page has at least one key. */
const MAX_PAGE_KEYS = 1_000;
const MAX_PAGE_CHARS = 1_000_000;

/** One page of a range, at the newest or a past revision. Runs inside a transaction. */
function readPage(statements: Statements, { prefix, from, to, revision, ...query }: RangeQuery): RangePage {
  const at = revision === undefined ? readMeta(statements).revision : requireKept(statements, revision);
  const kvs: KeyValue[] = [];
  let chars = 0;
  const maxKeys = Math.min(query.limit ?? MAX_PAGE_KEYS, MAX_PAGE_KEYS);
  for (const row of statements.range.iterate({
    from: from ?? prefix,
    end: to ?? endOf(prefix),
    at,
    limit: maxKeys + 1,
  })) {
    const kv = keyValue(kvRow(row));
    if (kvs.length === maxKeys || chars >= MAX_PAGE_CHARS) return { revision: String(at), kvs, next: kv.key };
    kvs.push(kv);
    chars += kv.key.length + kv.value.length;
  }
  return { revision: String(at), kvs, next: null };
}

/** The first text after all texts with this prefix, which is not empty. SQLite compares texts by their UTF-8 bytes. */
function endOf(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

/** The operations of `Kv` on a database at a given time, synchronous. */
export interface Engine {
  id(): string;
  grant(now: Now, ttlMs: number, id: number): Granted;
  renew(now: Now, lease: string): number | null;
  remaining(now: Now, leases: readonly string[]): readonly (LeaseTime | null)[];
  releaseEmpty(now: Now, lease: string): boolean;
  range(now: Now, query: RangeQuery): RangePage;
  count(now: Now, prefix: string): number;
  txn(now: Now, txn: Txn): TxnResult;
  changesAfter(now: Now, revision: string): readonly KvBatch[];
}

export function createEngine(statements: Statements, keptChanges: number): Engine {
  const swept = <T>(now: Now, mode: 'read' | 'touch' | 'write', work: () => T): T => {
    sweep(statements, now, keptChanges);
    return transaction(statements, mode, work);
  };

  const find = (key: string): KeyValue | null => {
    const row = readKey(statements, key);
    return row && keyValue(row);
  };

  /** The TTL that starts anew; null: the lease is gone. */
  const renew = (now: Now, lease: string): number | null => {
    const row = statements.lease.get(lease);
    if (!row) return null;
    const ttlMs = Number(row['ttl_ms']);
    statements.extendLease.run({ id: lease, ...deadlines(now, ttlMs) });
    return ttlMs;
  };

  const writesOf = (txn: Txn): Write[] => {
    for (const { lease } of txn.puts) {
      if (lease !== '0' && !statements.lease.get(lease)) throw new LeaseNotFoundError(`lease ${lease} is gone`);
    }
    const puts = txn.puts.map(({ key, value, lease }) => {
      return { key, put: { value, lease: Number(lease) }, previous: readKey(statements, key) };
    });
    const deletions = txn.deletes.flatMap((key) => {
      const previous = readKey(statements, key);
      return previous ? [{ key, put: null, previous }] : [];
    });
    return [...puts, ...deletions];
  };

  return {
    id: () => String(statements.identity.get()?.['id']),
    grant: (now, ttlMs, id) =>
      swept(now, 'touch', () => {
        const lease = String(id);
        const renewedMs = renew(now, lease);
        if (renewedMs !== null) return { lease, ttlMs: renewedMs };
        statements.addLease.run({ id, ttlMs, ...deadlines(now, ttlMs) });
        return { lease, ttlMs };
      }),
    renew: (now, lease) => swept(now, 'touch', () => renew(now, lease)),
    remaining: (now, leases) => swept(now, 'read', () => leases.map((lease) => leaseTime(statements, now, lease))),
    releaseEmpty: (now, lease) =>
      swept(now, 'touch', () => {
        statements.removeEmptyLease.run({ id: lease });
        return statements.lease.get(lease) === undefined;
      }),
    range: (now, query) => swept(now, 'read', () => readPage(statements, query)),
    count: (now, prefix) =>
      swept(now, 'read', () => Number(statements.countKeys.get(prefix, endOf(prefix))?.['keys'] ?? 0)),
    txn: (now, txn) =>
      swept(now, txn.puts.length + txn.deletes.length > 0 ? 'write' : 'read', () => {
        const reads = txn.reads.map(find);
        const succeeded = txn.guards.every((guard) => {
          const row = find(guard.key);
          return 'value' in guard ? row?.value === guard.value : (row?.modRevision ?? '0') === guard.modRevision;
        });
        const revision = appendRevision(statements, succeeded ? writesOf(txn) : [], keptChanges);
        return { succeeded, revision: String(revision), reads };
      }),
    changesAfter: (now, revision) => swept(now, 'read', () => changesAfter(statements, revision)),
  };
}
