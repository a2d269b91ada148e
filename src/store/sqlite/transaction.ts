import type { DatabaseSync } from 'node:sqlite';

/**
 * Runs `work` as one transaction: all of it or nothing, and nothing of it when it throws.
 * `read`: sees one state throughout. `touch`: may lose the latest commits to a power cut, never their order.
 * `write`: is on the disk before it returns, so a revision that a reader was shown can never be given out again
 * (https://sqlite.org/pragma.html#pragma_synchronous). Both writers take the lock at once, where waiting for it is possible.
 */
export function transaction<T>(db: DatabaseSync, mode: 'read' | 'touch' | 'write', work: () => T): T {
  if (mode !== 'read') db.exec(`PRAGMA synchronous = ${mode === 'write' ? 'FULL' : 'NORMAL'}`);
  db.exec(mode === 'read' ? 'BEGIN' : 'BEGIN IMMEDIATE');
  try {
    const result = work();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    // Some failures (a full disk) end the transaction by themselves.
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}
