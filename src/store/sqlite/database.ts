import { accessSync, closeSync, constants, existsSync, mkdirSync, openSync, readSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { Backoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { UsageError } from '../../lib/errors.ts';
import { NoStoreFileError, StoreError } from '../store-errors.ts';

/** Loaded on use: a process without such a store does not need it. @throws UsageError where this Node.js has none */
export async function loadSqlite(load = () => import('node:sqlite')): Promise<typeof DatabaseSync> {
  try {
    return (await load()).DatabaseSync;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_UNKNOWN_BUILTIN_MODULE') throw error;
    throw new UsageError(
      'this Node.js has no SQLite, which a sqlite: store needs; use Node.js 22.13 or later, or etcd',
    );
  }
}

const MAGIC = 'SQLite format 3\0';

/**
 * Why the file must not be used; null: it is a rollcall database, or empty.
 * Offsets are those of https://sqlite.org/fileformat2.html#the_database_header
 * @param header the first 100 bytes of the file, or all of a shorter one
 */
function judgeHeader(header: Buffer, applicationId: number, schemaNumber: number): string | null {
  if (header.length === 0) return null;
  if (header.length < 100 || header.toString('latin1', 0, 16) !== MAGIC) return 'the file is not a database';
  if (header.readUInt32BE(68) !== applicationId) return 'the database belongs to another program';
  const found = header.readUInt32BE(60);
  if (found === schemaNumber) return null;
  return `its tables have version ${found}, this program knows version ${schemaNumber}; use a rollcall that knows version ${found}`;
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

function isBusy(error: unknown): boolean {
  return resultCode(error) === BUSY;
}

/** Turns the driver's errors into a StoreError that says what to do; returns all other errors unchanged. */
function translateSqliteError(action: string, error: unknown): unknown {
  const code = resultCode(error);
  if (code === undefined) return error;
  const known = CAUSES[code];
  const text = known?.cause ?? (error as Error).message;
  return new StoreError(`${action}: ${text}`, { retryable: known?.retryable ?? false, cause: error });
}

/** How long SQLite itself waits for a lock. It blocks this process meanwhile, so longer waits are between retries. */
const BUSY_TIMEOUT_MS = 50;

/** The deadline of a request, with all retries and the waits between them. */
const REQUEST_TIMEOUT_MS = 5_000;

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
      if (!isBusy(error) || deps.clock.monotonicMs() >= giveUpMs) throw translateSqliteError(action, error);
    }
    await deps.clock.sleep(backoff.delayMs(deps.random()), signal);
  }
}

/** "RlCl", at offset 68 of the file: marks it as rollcall's (https://sqlite.org/fileformat2.html#application_id). */
const APPLICATION_ID = 0x526c436c;

/** `user_version`, at offset 60. Raise it with every change to the tables that breaks older programs. */
const SCHEMA_NUMBER = 1;

/**
 * A key-value store with revisions in four tables. `kv` has the current values; `change` has the changes since
 * `meta.compacted` with the values they replaced, so that past revisions can be read, too.
 * A lease has two deadlines: the monotonic one counts in the boot that wrote it, the wall clock's after a reboot, unless
 * the clock was set back by then.
 */
const SCHEMA = `
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
 * The store's id. Databases without it get it when they are next opened; older programs ignore it, so the programs of one
 * machine can be upgraded one after another.
 */
const IDENTITY_SCHEMA = `
  CREATE TABLE identity (id TEXT NOT NULL) STRICT;
  INSERT INTO identity VALUES (lower(hex(randomblob(16))));
`;

/**
 * Opens the database file at `path`. With `create`, a missing file and its folder are created: for the owner only (0600),
 * because reading a WAL database needs write access, which would allow forging the roll. A foreign file is left unchanged.
 * `Database` is a parameter so that only a process that uses node:sqlite loads it.
 * @throws StoreError, or the driver's error when another process holds the lock
 */
export function openDatabase(Database: typeof DatabaseSync, path: string, create: boolean): DatabaseSync {
  requireUsable(path, create);
  const db = new Database(path, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: false });
  try {
    createTables(db);
    // The file keeps this setting. After creating the tables, so that `judgeHeader` never misses a header that is only in the WAL.
    db.exec('PRAGMA journal_mode = WAL');
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Creates what is missing in one transaction: several processes may open a new file at the same time. */
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

/** Creates only the last folder of the path: Node's recursive mkdir never returns where the kernel refuses it, as in /proc. */
function makeLastFolder(path: string): void {
  if (existsSync(path)) return;
  const parent = dirname(path);
  if (!existsSync(parent)) throw new Error(`its folder ${parent} does not exist; create it`);
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
      const cause = 'there is no such file; start an agent on it, or name another store with --store or ROLLCALL_STORE';
      throw new NoStoreFileError(`open store sqlite:${path}: ${cause}`);
    }
    if (!stats) makeLastFolder(dirname(path));
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

/**
 * Of a lease of another boot. One that has more than its TTL left was renewed by a clock that was ahead of today's: it would
 * outlive its agent for as long as that.
 */
const DUE_BY_WALL = '(deadline_wall_ms <= :wallMs OR deadline_wall_ms > :wallMs + ttl_ms)';

export type Statements = ReturnType<typeof prepareStatements>;

/** All statements, compiled once for a database. The logic is in `engine.ts`. */
export function prepareStatements(db: DatabaseSync) {
  return {
    db,
    begin: db.prepare('BEGIN'),
    beginImmediate: db.prepare('BEGIN IMMEDIATE'),
    commit: db.prepare('COMMIT'),
    /** As `transaction` set it last; the PRAGMA acts when it is compiled, so it cannot be prepared. */
    synchronous: { is: '' },
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
    countKeys: db.prepare('SELECT count(*) AS keys FROM kv WHERE key >= ? AND key < ?'),
    keysOfLease: db.prepare('SELECT key, value, lease, mod_revision FROM kv WHERE lease = ? ORDER BY key'),
    // The value of a key at revision :at is either unchanged since, or the one that the first change after :at replaced:
    // only that change has a previous_revision of :at or less.
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
    dueLeases: db.prepare(
      `SELECT id, ttl_ms, 0 AS is_ahead FROM lease WHERE boot_id = :bootId AND deadline_monotonic_ms <= :monotonicMs
       UNION ALL SELECT id, ttl_ms, deadline_wall_ms > :wallMs FROM lease WHERE boot_id < :bootId AND ${DUE_BY_WALL}
       UNION ALL SELECT id, ttl_ms, deadline_wall_ms > :wallMs FROM lease WHERE boot_id > :bootId AND ${DUE_BY_WALL}
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
 * `read`: sees one state throughout. `touch`: a power cut may lose the latest commits, but never reorders them.
 * `write`: is on the disk before it returns, so a revision that a reader has seen is never used again
 * (https://sqlite.org/pragma.html#pragma_synchronous). `touch` and `write` take the lock when they begin, where SQLite can
 * wait for it.
 */
export function transaction<T>(statements: Statements, mode: 'read' | 'touch' | 'write', work: () => T): T {
  const { db, synchronous, begin, beginImmediate, commit } = statements;
  const wanted = mode === 'write' ? 'FULL' : 'NORMAL';
  if (mode !== 'read' && synchronous.is !== wanted) {
    db.exec(`PRAGMA synchronous = ${wanted}`);
    synchronous.is = wanted;
  }
  (mode === 'read' ? begin : beginImmediate).run();
  try {
    const result = work();
    commit.run();
    return result;
  } catch (error) {
    // Some failures (a full disk) end the transaction by themselves.
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}
