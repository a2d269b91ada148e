import { readFileSync } from 'node:fs';
import type { StoreConfig } from '../config/store-config.ts';
import type { Clock } from '../timing/clock.ts';
import type { Kv } from './kv.ts';
import { createRollStore } from './roll-store.ts';
import { UNKNOWN_BOOT } from './sqlite/now.ts';
import type { Store } from './store.ts';

export interface StoreDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  /** Ends the opening, which may wait for another process; not what is opened. */
  readonly signal: AbortSignal;
  /** Whether an embedded store that is not there may be made: writers do, readers would only hide a wrong path. */
  readonly create: boolean;
}

/** @throws StoreError when an embedded store's file cannot be used, or the reason of the signal. etcd is first asked by the first call. */
export async function openStore(config: StoreConfig, deps: StoreDeps): Promise<Store> {
  return createRollStore(await openKv(config, deps));
}

/** Each kind is loaded when it is used: an agent on etcd carries no SQLite, a list from SQLite no HTTP client. */
async function openKv(config: StoreConfig, deps: StoreDeps): Promise<Kv> {
  switch (config.kind) {
    case 'etcd':
      return (await import('./etcd.ts')).openEtcdKv(config, deps);
    case 'sqlite':
      return (await import('./sqlite.ts')).openSqliteKv(config, { ...deps, bootId: readBootId() });
    case 'memory':
      return (await import('./memory.ts')).openMemoryKv(config, { ...deps, bootId: readBootId() });
  }
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return UNKNOWN_BOOT; // not Linux; leases are then judged by the wall clock
  }
}
