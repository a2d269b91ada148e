import { accessSync, closeSync, constants, existsSync, mkdirSync, openSync, readSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { Backoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { StoreError } from '../errors.ts';

const MAGIC = 'SQLite format 3\0';

/**
 * Why a file that begins with `header` must not be touched; null when it is ours, or empty.
 * Offsets are those of https://sqlite.org/fileformat2.html#the_database_header
 * @param header the first 100 bytes, or what there is of them
 */
export function judgeHeader(header: Buffer, applicationId: number, schemaNumber: number): string | null {
  if (header.length === 0) return null;
  if (header.length < 100 || header.toString('latin1', 0, 16) !== MAGIC) return 'the file is not a database';
  if (header.readUInt32BE(68) !== applicationId) return 'the database is of another application';
  const found = header.readUInt32BE(60);
  if (found === schemaNumber) return null;
  return `its tables are of version ${found}, this program knows version ${schemaNumber}; use the newer program`;
}

/** Primary result codes of https://sqlite.org/rescode.html; the driver gives the extended ones, whose low byte they are. */
const BUSY = 5;
const CAUSES: Readonly<Record<number, { readonly cause: string; readonly retryable: boolean }>> = {
  5: { cause: 'another process keeps it locked', retryable: true },
  6: { cause: 'another process keeps it locked', retryable: true },
  8: { cause: 'it is read-only for this process; check the owner and mode of the file', retryable: false },
  10: { cause: 'the disk reports an error', retryable: true },
  11: { cause: 'the file is damaged; move it away and start again', retryable: false },
  13: { cause: 'the disk is full', retryable: true },
  14: { cause: 'it cannot be opened; check the path and its permissions', retryable: false },
  26: { cause: 'it is not a database', retryable: false },
};

/** The primary result code of an error of node:sqlite; undefined for any other error. */
function resultCode(error: unknown): number | undefined {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  return code === 'ERR_SQLITE_ERROR' && typeof errcode === 'number' ? errcode & 0xff : undefined;
}

export function isBusy(error: unknown): boolean {
  return resultCode(error) === BUSY;
}

/** What the driver threw as a StoreError that says what to do; errors of our own as they are. */
export function translateError(action: string, error: unknown): unknown {
  const code = resultCode(error);
  if (code === undefined) return error;
  const known = CAUSES[code];
  const text = known?.cause ?? (error as Error).message;
  return new StoreError(`${action}: ${text}`, { retryable: known?.retryable ?? false, cause: error });
}

/** How long SQLite itself may wait for a lock. It blocks this process meanwhile, so the longer wait is ours. */
export const BUSY_TIMEOUT_MS = 50;

/** Together with the waits between: the deadline of a request. */
export const REQUEST_TIMEOUT_MS = 5_000;

export interface RetryDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
}

/**
 * Runs `work`, again while another process holds the lock, for up to `REQUEST_TIMEOUT_MS`.
 * @throws StoreError that starts with `action`, or the reason of `signal`
 */
export async function retryBusy<T>(deps: RetryDeps, signal: AbortSignal, action: string, work: () => T): Promise<T> {
  const giveUpMs = deps.clock.monotonicMs() + REQUEST_TIMEOUT_MS;
  for (let backoff = new Backoff(10, 200); ; backoff = backoff.next()) {
    signal.throwIfAborted();
    try {
      return work();
    } catch (error) {
      if (!isBusy(error) || deps.clock.monotonicMs() >= giveUpMs) throw translateError(action, error);
    }
    await deps.clock.sleep(backoff.delayMs(deps.random()), signal);
  }
}

/** "RlCl", at offset 68 of the file: tells our files from those of other applications (https://sqlite.org/fileformat2.html#application_id). */
export const APPLICATION_ID = 0x526c436c;

/** `user_version`, at offset 60. Raise it with every change to the tables that an older program could not live with. */
export const SCHEMA_NUMBER = 1;

/**
 * A key-value store with revisions in four tables. `kv` is the present; `change` is how it came about, as far back as
 * `meta.compacted`, and holds what each change replaced, so that a reader can be given the past, too.
 * A lease has two deadlines: the one on the boot's monotonic scale counts in that boot, the wall clock's in any later one.
 */
export const SCHEMA = `
  CREATE TABLE meta (revision INTEGER NOT NULL, compacted INTEGER NOT NULL) STRICT;
  INSERT INTO meta VALUES (1, 0);
  CREATE TABLE kv (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, lease INTEGER NOT NULL, mod_revision INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX kv_by_lease ON kv (lease);
  CREATE TABLE lease (
    id INTEGER PRIMARY KEY, ttl_ms REAL NOT NULL, boot_id TEXT NOT NULL,
    deadline_monotonic_ms REAL NOT NULL, deadline_wall_ms REAL NOT NULL
  ) STRICT;
  CREATE INDEX lease_by_deadline ON lease (boot_id, deadline_monotonic_ms);
  CREATE TABLE change (
    seq INTEGER PRIMARY KEY, revision INTEGER NOT NULL, key TEXT NOT NULL, value TEXT,
    previous TEXT, previous_lease INTEGER, previous_revision INTEGER
  ) STRICT;
  CREATE INDEX change_by_revision ON change (revision);
  CREATE INDEX change_by_key ON change (key, revision);
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_NUMBER};
`;

/**
 * What tells this store's data apart from any other's. Databases from before it get it when they are next opened; older
 * programs do not look at it, so that those of one machine may be replaced one after the other.
 */
export const IDENTITY_SCHEMA = `
  CREATE TABLE identity (id TEXT NOT NULL) STRICT;
  INSERT INTO identity VALUES (lower(hex(randomblob(16))));
`;

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
