import type { MemoryStoreConfig } from '../config/store-config.ts';
import type { Kv } from './kv.ts';
import { createEngine } from './sqlite/engine.ts';
import { engineKv } from './sqlite/engine-kv.ts';
import { createTables } from './sqlite/open-database.ts';
import { prepareStatements, type Statements } from './sqlite/statements.ts';
import { type EmbeddedDeps, KEPT_CHANGES } from './sqlite.ts';

interface Shared {
  readonly statements: Statements;
  users: number;
}

const stores = new Map<string, Shared>();

/** The embedded store without a file: one per name and process, for as long as anybody has it open. */
export async function openMemoryKv(
  config: MemoryStoreConfig,
  deps: Omit<EmbeddedDeps, 'create' | 'signal'>,
): Promise<Kv> {
  const { label, name } = config;
  const { DatabaseSync } = await import('node:sqlite');
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
