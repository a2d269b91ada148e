import type { DatabaseSync } from 'node:sqlite';

export type Statements = ReturnType<typeof prepareStatements>;

/** Every statement of the store, compiled once for a database. Nothing here decides; `engine.ts` does. */
export function prepareStatements(db: DatabaseSync) {
  return {
    db,
    meta: db.prepare('SELECT revision, compacted FROM meta'),
    identity: db.prepare('SELECT id FROM identity'),
    setRevision: db.prepare('UPDATE meta SET revision = ?'),
    setCompacted: db.prepare('UPDATE meta SET compacted = ?'),

    get: db.prepare('SELECT key, value, lease, mod_revision FROM kv WHERE key = ?'),
    put: db.prepare(
      `INSERT INTO kv (key, value, lease, mod_revision) VALUES (?, ?, ?, ?)
       ON CONFLICT (key) DO UPDATE SET value = excluded.value, lease = excluded.lease, mod_revision = excluded.mod_revision`,
    ),
    remove: db.prepare('DELETE FROM kv WHERE key = ?'),
    keysOfLease: db.prepare('SELECT key, value, lease, mod_revision FROM kv WHERE lease = ? ORDER BY key'),
    // A key as it was at revision :at is either untouched since, or what the first change after :at replaced: of all
    // changes after :at only that one replaced a value from :at or before.
    range: db.prepare(
      `SELECT key, value, lease, mod_revision FROM kv
       WHERE key >= :from AND key < :end AND mod_revision <= :at
       UNION ALL
       SELECT key, previous, previous_lease, previous_revision FROM change
       WHERE key >= :from AND key < :end AND revision > :at AND previous_revision <= :at
       ORDER BY key LIMIT :limit`,
    ),

    addLease: db.prepare('INSERT INTO lease VALUES (:id, :ttlMs, :bootId, :monotonicMs, :wallMs)'),
    lease: db.prepare('SELECT ttl_ms, boot_id, deadline_monotonic_ms, deadline_wall_ms FROM lease WHERE id = ?'),
    extendLease: db.prepare(
      `UPDATE lease SET boot_id = :bootId, deadline_monotonic_ms = :monotonicMs, deadline_wall_ms = :wallMs WHERE id = :id`,
    ),
    removeLease: db.prepare('DELETE FROM lease WHERE id = ?'),
    removeEmptyLease: db.prepare(
      'DELETE FROM lease WHERE id = :id AND NOT EXISTS (SELECT 1 FROM kv WHERE lease = :id)',
    ),
    // Two ranges for "another boot", because the index cannot serve an inequality.
    expiredLeases: db.prepare(
      `SELECT id FROM lease WHERE boot_id = :bootId AND deadline_monotonic_ms <= :monotonicMs
       UNION ALL SELECT id FROM lease WHERE boot_id < :bootId AND deadline_wall_ms <= :wallMs
       UNION ALL SELECT id FROM lease WHERE boot_id > :bootId AND deadline_wall_ms <= :wallMs
       LIMIT :limit`,
    ),

    addChange: db.prepare(
      `INSERT INTO change (revision, key, value, previous, previous_lease, previous_revision) VALUES (?, ?, ?, ?, ?, ?)`,
    ),
    changesAfter: db.prepare('SELECT revision, key, value, previous FROM change WHERE revision > ? ORDER BY seq'),
    firstChange: db.prepare('SELECT seq FROM change ORDER BY seq LIMIT 1'),
    lastChange: db.prepare('SELECT seq FROM change ORDER BY seq DESC LIMIT 1'),
    revisionOfChange: db.prepare('SELECT revision FROM change WHERE seq = ?'),
    removeChangesUpTo: db.prepare('DELETE FROM change WHERE revision <= ?'),
  };
}
