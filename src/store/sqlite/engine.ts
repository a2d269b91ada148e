import type { KeyValue, KvBatch, LeaseTime, RangePage, RangeQuery, Txn, TxnResult } from '../kv.ts';
import { LeaseNotFoundError } from '../store-error.ts';
import { changesAfter } from './changes.ts';
import { deadlines, leaseTime, sweep } from './leases.ts';
import { appendRevision, readKey, type Write } from './log.ts';
import type { Now } from './now.ts';
import { readPage } from './page.ts';
import { keyValue } from './rows.ts';
import type { Statements } from './statements.ts';
import { transaction } from './transaction.ts';

/** The operations of `Kv` on a database, at a given moment, each done when it returns. */
export interface Engine {
  id(): string;
  grant(now: Now, ttlMs: number, id: number): void;
  keepAlive(now: Now, lease: string): boolean;
  remaining(now: Now, leases: readonly string[]): readonly (LeaseTime | null)[];
  releaseEmpty(now: Now, lease: string): void;
  range(now: Now, query: RangeQuery): RangePage;
  txn(now: Now, txn: Txn): TxnResult;
  changesAfter(now: Now, revision: string): readonly KvBatch[];
}

export function createEngine(statements: Statements, keptChanges: number): Engine {
  const { db } = statements;

  const swept = <T>(now: Now, mode: 'read' | 'touch' | 'write', work: () => T): T => {
    sweep(statements, now, keptChanges);
    return transaction(db, mode, work);
  };

  const find = (key: string): KeyValue | null => {
    const row = readKey(statements, key);
    return row && keyValue(row);
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
    grant: (now, ttlMs, id) => {
      swept(now, 'touch', () => statements.addLease.run({ id, ttlMs, ...deadlines(now, ttlMs) }));
    },
    keepAlive: (now, lease) =>
      swept(now, 'touch', () => {
        const row = statements.lease.get(lease);
        if (!row) return false;
        statements.extendLease.run({ id: lease, ...deadlines(now, Number(row['ttl_ms'])) });
        return true;
      }),
    remaining: (now, leases) => swept(now, 'read', () => leases.map((lease) => leaseTime(statements, now, lease))),
    releaseEmpty: (now, lease) => {
      swept(now, 'touch', () => statements.removeEmptyLease.run({ id: lease }));
    },
    range: (now, query) => swept(now, 'read', () => readPage(statements, query)),
    txn: (now, txn) =>
      swept(now, txn.puts.length + txn.deletes.length > 0 ? 'write' : 'read', () => {
        const reads = txn.reads.map(find);
        const succeeded = txn.guards.every((guard) => {
          const row = find(guard.key);
          return 'lease' in guard ? row?.lease === guard.lease : (row?.modRevision ?? '0') === guard.modRevision;
        });
        const revision = appendRevision(statements, succeeded ? writesOf(txn) : [], keptChanges);
        return { succeeded, revision: String(revision), reads };
      }),
    changesAfter: (now, revision) => swept(now, 'read', () => changesAfter(statements, revision)),
  };
}
