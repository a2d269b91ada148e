import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { linkSignals } from '../../lib/abort.ts';
import type { Kv, KvBatch } from '../kv.ts';
import { CompactedError, StoreError } from '../store-errors.ts';
import type { MemoryStoreConfig, SqliteStoreConfig } from '../store-url.ts';
import {
  createTables,
  loadSqlite,
  openDatabase,
  prepareStatements,
  type RetryDeps,
  retryBusy,
  type Statements,
} from './database.ts';
import { createEngine, type Engine, type Now, nowOf } from './engine.ts';

/** How soon a watcher sees a change; while a watcher runs, also how long after its deadline a lease ends at most. */
const POLL_MS = 200;

/** The same for a watcher of a few keys, of which each agent of a machine has one. */
const POLL_KEYS_MS = 500;

/** How often a watcher gets a confirmation. */
const CONFIRM_MS = 5_000;

interface EngineKvDeps extends RetryDeps {
  readonly bootId: string;
  /** Frees the database. Called once. */
  readonly release: () => void;
}

/**
 * The key-value contract over an engine: adds the clock, retries and closing.
 * @param current the engine to use now; a different one after the file was replaced
 */
function engineKv(label: string, current: () => Engine, deps: EngineKvDeps): Kv {
  const { clock, random, bootId, release } = deps;
  const closing = new AbortController();

  const call = <T>(signal: AbortSignal, action: string, work: (engine: Engine, now: Now) => T): Promise<T> =>
    retryBusy(deps, signal, `${action} ${label}`, () => {
      closing.signal.throwIfAborted();
      return work(current(), nowOf(clock, bootId));
    });

  const watchEvery = async function* (
    pollMs: number,
    from: string,
    signal: AbortSignal,
  ): AsyncGenerator<KvBatch, void, undefined> {
    let revision = from;
    let watched: Engine | undefined;
    let confirmedMs = clock.monotonicMs();
    using ending = linkSignals(signal, closing.signal);
    for (;;) {
      const askedAtMs = clock.monotonicMs();
      const batches = await call(signal, 'watch', (engine, now) => {
        watched ??= engine;
        // The new store counts its revisions from one again: those after `revision` are others.
        if (engine !== watched) throw new CompactedError(`watch ${label}: the store was replaced by a new one`);
        return engine.changesAfter(now, revision);
      });
      for (const batch of batches) {
        yield batch;
        signal.throwIfAborted();
        revision = batch.revision;
      }
      if (batches.length > 0) continue;
      if (askedAtMs - confirmedMs >= CONFIRM_MS) {
        confirmedMs = askedAtMs;
        yield { revision, events: [], confirmedMsAgo: clock.monotonicMs() - askedAtMs };
      }
      await clock.sleep(pollMs, ending.signal);
    }
  };

  const renew = (lease: string, signal: AbortSignal) =>
    call(signal, 'renew a lease of', (engine, now) => engine.renew(now, lease));

  return {
    label,
    id: (signal) => call(signal, 'identify', (engine) => engine.id()),
    server: async () => ({ version: 'SQLite', members: null, leader: null }),
    // As many bits as SQLite's numbers have here.
    leaseOf: (name) => String(createHash('sha256').update(name).digest().readUIntBE(0, 6) + 1),
    grant: (ttlMs, signal, lease) => {
      // Random, not counted: a lease of a store that was deleted and created again must not match one of the new store.
      const id = lease === undefined ? 1 + Math.floor(random() * (2 ** 53 - 1)) : Number(lease);
      return call(signal, 'grant a lease of', (engine, now) => engine.grant(now, ttlMs, id));
    },
    keepAlive: async (lease, signal) => (await renew(lease, signal)) !== null,
    renew,
    remaining: (leases, signal) => call(signal, 'ask for leases of', (engine, now) => engine.remaining(now, leases)),
    releaseEmpty: (lease, signal) =>
      call(signal, 'release a lease of', (engine, now) => engine.releaseEmpty(now, lease)),
    range: (query, signal) => call(signal, 'read', (engine, now) => engine.range(now, query)),
    count: (prefix, signal) => call(signal, 'read', (engine, now) => engine.count(now, prefix)),
    txn: (txn, signal) => call(signal, 'write to', (engine, now) => engine.txn(now, txn)),
    watch: (from, signal) => watchEvery(POLL_MS, from, signal),
    watchKeys: async function* (keys, from, signal) {
      for await (const batch of watchEvery(POLL_KEYS_MS, from, signal)) {
        const events = batch.events.filter(({ key }) => keys.includes(key));
        if (events.length > 0) yield { revision: batch.revision, events };
      }
    },
    close: async () => {
      if (closing.signal.aborted) return;
      closing.abort(new StoreError(`${label} is closed`, { retryable: false }));
      release();
    },
  };
}

/** Changes in the log that watchers resume from. At 2 kB each they take 20 MB at most. */
const KEPT_CHANGES = 10_000;

export interface EmbeddedDeps extends RetryDeps {
  /** /proc/sys/kernel/random/boot_id, or `UNKNOWN_BOOT`. */
  readonly bootId: string;
  /** Aborts opening the file while another process keeps it locked. */
  readonly signal: AbortSignal;
  /** Whether a missing file is created. */
  readonly create: boolean;
  /** Default: `KEPT_CHANGES`. */
  readonly keptChanges?: number;
}

/**
 * The embedded store: one SQLite file (WAL) for all processes of one machine. A lease ends by the monotonic clock of the
 * boot that renewed it last, and after a reboot by the wall clock: setting the clock ends no lease.
 * @throws StoreError when the file cannot be used, or the reason of the signal
 */
export async function openSqliteKv(config: SqliteStoreConfig, deps: EmbeddedDeps): Promise<Kv> {
  const { label, path } = config;
  const DatabaseSync = await loadSqlite();
  const open = () => {
    const db = openDatabase(DatabaseSync, path, deps.create);
    const engine = createEngine(prepareStatements(db), deps.keptChanges ?? KEPT_CHANGES);
    return { db, engine, inode: inodeOf(path) };
  };
  let opened = await retryBusy(deps, deps.signal, `open store ${label}`, open);
  const current = () => {
    if (inodeOf(path) !== opened.inode) {
      // The file was deleted or replaced: no other process uses the old one any more.
      const replaced = opened;
      opened = open();
      replaced.db.close();
    }
    return opened.engine;
  };
  return engineKv(label, current, { ...deps, release: () => opened.db.close() });
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

interface Shared {
  readonly statements: Statements;
  users: number;
}

const stores = new Map<string, Shared>();

/** The embedded store without a file: one for each name and process, for as long as it is open anywhere in it. */
export async function openMemoryKv(
  config: MemoryStoreConfig,
  deps: Omit<EmbeddedDeps, 'create' | 'signal'>,
): Promise<Kv> {
  const { label, name } = config;
  const DatabaseSync = await loadSqlite();
  const shared = stores.get(name) ?? { statements: emptyDatabase(new DatabaseSync(':memory:')), users: 0 };
  stores.set(name, shared);
  shared.users += 1;
  const release = () => {
    shared.users -= 1;
    if (shared.users > 0) return;
    stores.delete(name);
    shared.statements.db.close();
  };
  const engine = createEngine(shared.statements, deps.keptChanges ?? KEPT_CHANGES);
  return engineKv(label, () => engine, { ...deps, release });
}

function emptyDatabase(db: Statements['db']): Statements {
  createTables(db);
  return prepareStatements(db);
}
