import { statSync } from 'node:fs';
import type { SqliteStoreConfig } from '../config/store-config.ts';
import type { Kv } from './kv.ts';
import { createEngine } from './sqlite/engine.ts';
import { engineKv } from './sqlite/engine-kv.ts';
import { openDatabase } from './sqlite/open-database.ts';
import { type RetryDeps, retryBusy } from './sqlite/retry-busy.ts';
import { prepareStatements } from './sqlite/statements.ts';

/** The log of changes that watchers resume from. At 2 kB a change it takes 20 MB at most. */
export const KEPT_CHANGES = 10_000;

export interface EmbeddedDeps extends RetryDeps {
  /** /proc/sys/kernel/random/boot_id, or `UNKNOWN_BOOT`. */
  readonly bootId: string;
  /** Ends the wait for another process that keeps the file locked while it is being opened. */
  readonly signal: AbortSignal;
  /** Whether a file that is not there may be made. */
  readonly create: boolean;
  /** Default: `KEPT_CHANGES`. */
  readonly keptChanges?: number;
}

/**
 * The embedded store: one SQLite file (WAL) for all processes of one machine. Leases are judged by the monotonic clock
 * of the boot that renewed them last, and after a reboot by the wall clock: correcting the clock ends nobody's lease.
 * @throws StoreError when the file cannot be used, or the reason of the signal
 */
export async function openSqliteKv(config: SqliteStoreConfig, deps: EmbeddedDeps): Promise<Kv> {
  const { label, path } = config;
  const { DatabaseSync } = await import('node:sqlite');
  const open = () => {
    const db = openDatabase(DatabaseSync, path, deps.create);
    const engine = createEngine(prepareStatements(db), deps.keptChanges ?? KEPT_CHANGES);
    return { db, engine, inode: inodeOf(path) };
  };
  let opened = await retryBusy(deps, deps.signal, `open store ${label}`, open);
  const current = () => {
    if (inodeOf(path) !== opened.inode) {
      // Somebody deleted or replaced the file. To go on in the old one would be to talk to nobody.
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
