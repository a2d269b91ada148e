import { RollcallError } from '../../errors.ts';

/** SQLite's primary result code for a database that another connection has locked. */
const SQLITE_BUSY = 5;

/**
 * Takes the lock of an empty file that is made for it and stays. The kernel gives the lock back however the process
 * ends, and unlike a pid in a file it holds between containers too. Node has no call for such locks, but its SQLite
 * takes one on any database, and an empty file is one.
 * @returns the way to give it back
 * @throws RollcallError when another process has it; the driver's error when the file cannot be made
 */
export async function lockFile(path: string): Promise<() => void> {
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    // A journal in memory: no second file appears beside it.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    throw new RollcallError(`another rollcall watch holds ${path}; give each watch a cursor file of its own`);
  }
  return () => database.close();
}
