import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Kv } from '../../src/store/kv.ts';
import { type EmbeddedDeps, openSqliteKv } from '../../src/store/sqlite/sqlite-kv.ts';
import { type SimulatedClock, simulatedClock } from '../support/simulated-clock.ts';

/** A directory of its own for a store's file, on a clock that the test advances. */
export interface SqliteBackend {
  readonly path: string;
  readonly clock: SimulatedClock;
  open(deps?: Partial<EmbeddedDeps>): Promise<Kv>;
  dispose(): Promise<void>;
}

export async function startSqlite(): Promise<SqliteBackend> {
  const directory = await mkdtemp(join(tmpdir(), 'rollcall-sqlite-'));
  const path = join(directory, 'roll.db');
  const clock = simulatedClock();
  const opened: Kv[] = [];
  return {
    path,
    clock,
    open: async (deps = {}) => {
      const config = { kind: 'sqlite', label: `sqlite:${path}`, path } as const;
      const defaults = { clock, random: Math.random, bootId: 'boot-1', signal: anySignal, create: true };
      const kv = await openSqliteKv(config, { ...defaults, ...deps });
      opened.push(kv);
      return kv;
    },
    dispose: async () => {
      await Promise.all(opened.map((kv) => kv.close()));
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export const anySignal = new AbortController().signal;

/** Writes one key, on a lease or on none. @returns the revision */
export async function put(kv: Kv, key: string, value: string, lease = '0'): Promise<string> {
  const result = await kv.txn({ guards: [], puts: [{ key, value, lease }], deletes: [], reads: [] }, anySignal);
  return result.revision;
}
