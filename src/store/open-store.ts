import { readFileSync } from 'node:fs';
import type { Clock } from '../lib/clock.ts';
import type { Kv } from './kv.ts';
import { createRollStore } from './roll-store.ts';
import { UNKNOWN_BOOT } from './sqlite/engine.ts';
import type { Store } from './store.ts';
import type { StoreConfig } from './store-url.ts';

interface StoreDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  /** Aborts opening the store, which may wait for another process; not the open store. */
  readonly signal: AbortSignal;
  /** Whether a missing embedded store is created: true for writers; for readers it would hide a wrong path. */
  readonly create: boolean;
}

/** Connects to no etcd yet. @throws StoreError when an embedded store's file cannot be used, or the reason of the signal */
export async function openStore(config: StoreConfig, deps: StoreDeps): Promise<Store> {
  return createRollStore(await openKv(config, deps), `${deps.random()} ${deps.random()}`);
}

/** Each kind is loaded on use: an agent on etcd does not load SQLite, a list from SQLite does not load gRPC. */
async function openKv(config: StoreConfig, deps: StoreDeps): Promise<Kv> {
  switch (config.kind) {
    case 'etcd':
      return (await import('./etcd/etcd-kv.ts')).resolveEtcdKv(config, deps, deps.signal);
    case 'sqlite':
      return (await import('./sqlite/sqlite-kv.ts')).openSqliteKv(config, { ...deps, bootId: readBootId() });
    case 'memory':
      return (await import('./sqlite/sqlite-kv.ts')).openMemoryKv(config, { ...deps, bootId: readBootId() });
  }
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return UNKNOWN_BOOT; // not Linux; leases then end by the wall clock
  }
}
