import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { it } from 'node:test';
import { createTables, prepareStatements } from '../../../src/store/sqlite/database.ts';
import { createEngine, MAX_CHANGES } from '../../../src/store/sqlite/engine.ts';

it('gives a watcher that is far behind at most `MAX_CHANGES` changes at a time', () => {
  const db = new DatabaseSync(':memory:');
  createTables(db);
  const engine = createEngine(prepareStatements(db), 10_000);
  const now = { bootId: 'boot-1', monotonicMs: 0, wallMs: 0 };
  const writes = MAX_CHANGES + 100;
  for (let n = 0; n < writes; n += 1) {
    engine.txn(now, { guards: [], puts: [{ key: 'a', value: String(n), lease: '0' }], deletes: [], reads: [] });
  }
  const first = engine.changesAfter(now, '1');
  assert.equal(first.length, MAX_CHANGES);
  const rest = engine.changesAfter(now, first.at(-1)?.revision ?? '');
  assert.deepEqual([rest.length, rest.at(-1)?.revision], [100, String(writes + 1)]);
  assert.deepEqual(engine.changesAfter(now, String(writes + 1)), []);
  db.close();
});
