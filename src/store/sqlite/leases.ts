import type { LeaseTime } from '../kv.ts';
import { appendRevision } from './log.ts';
import { type Now, UNKNOWN_BOOT } from './now.ts';
import { kvRow } from './rows.ts';
import type { Statements } from './statements.ts';
import { transaction } from './transaction.ts';

/** Highest number of leases ended in one transaction, so that a mass expiry keeps others from the lock only for moments. */
const MAX_EXPIRED_AT_ONCE = 500;

/** When a lease of `ttlMs` that starts now is over, on both scales. */
export function deadlines(now: Now, ttlMs: number) {
  return { bootId: now.bootId, monotonicMs: now.monotonicMs + ttlMs, wallMs: now.wallMs + ttlMs };
}

/** What is left of a lease; null when there is none. */
export function leaseTime(statements: Statements, now: Now, lease: string): LeaseTime | null {
  const row = statements.lease.get(lease);
  if (!row) return null;
  const inItsBoot = now.bootId !== UNKNOWN_BOOT && row['boot_id'] === now.bootId;
  const remainingMs = inItsBoot
    ? Number(row['deadline_monotonic_ms']) - now.monotonicMs
    : Number(row['deadline_wall_ms']) - now.wallMs;
  return { remainingMs, grantedMs: Number(row['ttl_ms']) };
}

/**
 * Ends the leases that are over and deletes their keys, one revision a lease. Whoever uses the store does this first,
 * so an expiry is seen as soon as anybody looks. A lease that is over but was not swept yet has not ended for anybody.
 */
export function sweep(statements: Statements, now: Now, keptChanges: number): void {
  // Almost always there is nothing to do, and the look at an index takes no lock.
  while (expired(statements, now).length > 0) {
    transaction(statements.db, 'write', () => {
      for (const id of expired(statements, now)) {
        const held = statements.keysOfLease.all(id).map(kvRow);
        const deletions = held.map((row) => ({ key: row.key, put: null, previous: row }));
        appendRevision(statements, deletions, keptChanges);
        statements.removeLease.run(id);
      }
    });
  }
}

function expired(statements: Statements, now: Now): number[] {
  const rows = statements.expiredLeases.all({
    // The empty text is no boot's id: where this boot's is not known, the wall clock judges every lease.
    bootId: now.bootId === UNKNOWN_BOOT ? '' : now.bootId,
    monotonicMs: now.monotonicMs,
    wallMs: now.wallMs,
    limit: MAX_EXPIRED_AT_ONCE,
  });
  return rows.map((row) => Number(row['id']));
}
