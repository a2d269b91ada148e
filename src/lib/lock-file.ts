import { closeSync, openSync } from 'node:fs';

/** SQLite's primary result code for a database that another connection has locked. */
const SQLITE_BUSY = 5;

/**
 * Locks an empty file, which is created and kept. The kernel releases the lock however the process ends; unlike a pid in a
 * file, the lock also works between containers. Node has no API for file locks, but its SQLite locks any database, and an
 * empty file is a valid one.
 * @returns a function that releases the lock; null if another process holds it
 * @throws the system's error if the file cannot be created
 */
export async function lockFile(path: string): Promise<(() => void) | null> {
  const { DatabaseSync } = await import('node:sqlite');
  // Its error names the path and the cause; SQLite's does not.
  closeSync(openSync(path, 'a'));
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    // A journal in memory, so that SQLite creates no second file.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    return null;
  }
  return () => database.close();
}
