import { accessSync, closeSync, constants, existsSync, mkdirSync, openSync, readSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { StoreError } from '../store-error.ts';
import { judgeHeader } from './judge-header.ts';
import { BUSY_TIMEOUT_MS } from './retry-busy.ts';
import { APPLICATION_ID, IDENTITY_SCHEMA, SCHEMA, SCHEMA_NUMBER } from './schema.ts';

/**
 * Opens the database in the file at `path`. With `create` it is made where there is none, its folder included: for its
 * owner only (0600), because whoever can read a WAL database can also write it, and so forge the roll. A file that is not ours is left as it is.
 * `Database` comes in so that nothing loads node:sqlite but a process that uses it.
 * @throws StoreError, or the driver's error when another process holds the lock
 */
export function openDatabase(Database: typeof DatabaseSync, path: string, create: boolean): DatabaseSync {
  requireUsable(path, create);
  const db = new Database(path, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: false });
  try {
    createTables(db);
    // Kept in the file. Comes after the tables, so that the header which `judgeHeader` reads is never only in the WAL.
    db.exec('PRAGMA journal_mode = WAL');
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** In one transaction and only what is not there: several processes may open a new file at the same time. */
export function createTables(db: DatabaseSync): void {
  if (schemaNumber(db) === SCHEMA_NUMBER && hasIdentity(db)) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    if (schemaNumber(db) === 0) db.exec(SCHEMA);
    if (!hasIdentity(db)) db.exec(IDENTITY_SCHEMA);
    db.exec('COMMIT');
  } finally {
    if (db.isTransaction) db.exec('ROLLBACK');
  }
}

function schemaNumber(db: DatabaseSync): number {
  return Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
}

function hasIdentity(db: DatabaseSync): boolean {
  return db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'identity'").get() !== undefined;
}

/** Only the last folder of the path: Node's recursive way never returns where the kernel refuses folders, as in /proc. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  const parent = dirname(path);
  if (!existsSync(parent)) throw new Error(`its folder ${parent} does not exist; make it`);
  mkdirSync(path);
}

function requireUsable(path: string, create: boolean): void {
  const fail = (cause: string, error?: unknown): never => {
    throw new StoreError(`open store sqlite:${path}: ${cause}`, { retryable: false, cause: error });
  };
  try {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats && !stats.isFile()) fail('it is not a file; name a file in a directory that rollcall may write to');
    if (!stats && !create) {
      fail('there is no such file; start an agent on it, or name another store with --store or ROLLCALL_STORE');
    }
    if (!stats) makeFolder(dirname(path));
    accessSync(dirname(path), constants.W_OK);
    const file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    const header = Buffer.alloc(100);
    const sizeBytes = readSync(file, header, 0, header.length, 0);
    closeSync(file);
    const refusal = judgeHeader(header.subarray(0, sizeBytes), APPLICATION_ID, SCHEMA_NUMBER);
    if (refusal !== null) fail(refusal);
  } catch (error) {
    if (error instanceof StoreError) throw error;
    fail('it cannot be opened for writing', error);
  }
}
