import assert from 'node:assert/strict';
import { it } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import type { Kv } from '../../src/store/kv.ts';
import { openMemoryKv } from '../../src/store/sqlite/sqlite-kv.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import type { Backend } from './contract-world.ts';
import { describeStoreContract } from './store-contract.ts';

const { signal } = new AbortController();

describeStoreContract('memory:', async (): Promise<Backend> => {
  const clock = simulatedClock();
  const opened: Kv[] = [];
  const open = async (keptChanges?: number) => {
    const kept = keptChanges === undefined ? {} : { keptChanges };
    const deps = { clock, random: Math.random, bootId: 'boot-1', ...kept };
    const kv = await openMemoryKv({ kind: 'memory', label: 'memory:contract', name: 'contract' }, deps);
    opened.push(kv);
    return kv;
  };
  return {
    ttlMs: 1_000,
    open: () => open(),
    pass: (ms) => clock.advance(ms),
    compact: async () => {
      const kv = await open(1);
      for (const value of ['1', '2']) {
        const puts = [{ key: 'filler', value, lease: '0' }];
        await kv.txn({ guards: [], puts, deletes: [], reads: [] }, signal);
      }
    },
    dispose: async () => {
      await Promise.all(opened.map((kv) => kv.close()));
    },
  };
});

it('keeps stores of different names apart, and each only while it is open', async () => {
  const deps = { clock: systemClock, random: Math.random, bootId: 'boot-1' };
  const open = (name: string) => openMemoryKv({ kind: 'memory', label: `memory:${name}`, name }, deps);
  const [one, same, other] = [await open('one'), await open('one'), await open('other')];
  await one.txn({ guards: [], puts: [{ key: 'a', value: '1', lease: '0' }], deletes: [], reads: [] }, signal);
  assert.equal((await same.range({ prefix: 'a' }, signal)).kvs.length, 1);
  assert.equal((await other.range({ prefix: 'a' }, signal)).kvs.length, 0);
  await one.close();
  await one.close();
  assert.equal((await same.range({ prefix: 'a' }, signal)).kvs.length, 1);
  await same.close();
  const again = await open('one');
  assert.equal((await again.range({ prefix: 'a' }, signal)).kvs.length, 0);
  await again.close();
  await other.close();
});
