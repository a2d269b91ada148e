import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createRegistry } from '../../src/registry/registry.ts';
import { openStore } from '../../src/store/open-store.ts';
import { sampleWriter } from '../support/sample-writer.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const NEVER = new AbortController().signal;

async function setUp(t: TestContext) {
  const clock = simulatedClock();
  const store = await openStore(
    { kind: 'memory', label: 'memory:', name: t.name },
    { clock, random: Math.random, signal: NEVER, create: true },
  );
  const registry = createRegistry({ store, clock, random: Math.random });
  t.after(async () => {
    await registry.close();
    await store.close();
  });
  const { register } = sampleWriter(store);
  return { store, clock, registry, register };
}

test('a reader of a real store sees a node register, depart and be lost, without a second snapshot', async (t) => {
  const { store, clock, registry, register } = await setUp(t);
  await registry.read(NEVER);
  await register(1, {}, 30_000);
  const { hold, record } = await register(2, {}, 60_000);
  await clock.advance(1_000);
  assert.deepEqual(registry.status().nodes, { present: 2, departed: 0, lost: 0 });
  await clock.advance(30_000);
  assert.deepEqual(registry.status().nodes, { present: 1, departed: 0, lost: 1 });
  await store.depart(hold, { ...record, departure: { cause: 'stopped', at: '2026-01-01T00:00:31.000Z' } }, NEVER);
  await clock.advance(1_000);
  assert.deepEqual(registry.status().nodes, { present: 0, departed: 1, lost: 1 });
  assert.equal(registry.status().snapshots, 1);
});

test('the view is the same as a snapshot of the same revision', async (t) => {
  const { store, clock, registry, register } = await setUp(t);
  await register(3, {}, 30_000);
  await registry.read(NEVER);
  await register(1, {}, 30_000);
  await register(2, {}, 60_000);
  await clock.advance(31_000);
  const { roll, stale } = await registry.read(NEVER);
  const { entries, skipped } = await store.read(NEVER);
  assert.deepEqual([roll.entries, roll.skipped, stale], [entries, skipped, false]);
});

test('a quiet store confirms often enough that the roll is never stale', async (t) => {
  const { clock, registry } = await setUp(t);
  await registry.read(NEVER);
  for (let passedMs = 0; passedMs < 45_000; passedMs += 1_000) {
    await clock.advance(1_000);
    const ageMs = registry.status().ageMs ?? Number.NaN;
    assert.ok(ageMs <= 10_000, `${ageMs} ms`);
  }
  assert.equal((await registry.read(NEVER)).stale, false);
});
