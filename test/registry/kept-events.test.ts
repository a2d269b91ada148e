import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { RollEvent } from '../../src/record/events.ts';
import { createRegistry, type Registry } from '../../src/registry/registry.ts';
import { fakeStore } from '../support/fake-store.ts';
import { type SimulatedClock, simulatedClock } from '../support/simulated-clock.ts';
import { nodes, passHealthy } from './losses-setup.ts';

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** Twenty nodes that came one by one, from revision 2 on, and a process that has read them all. */
async function setUp(t: TestContext) {
  const store = fakeStore();
  const clock = simulatedClock();
  for (const node of nodes(0, 20)) store.commit([node]);
  const registry = createRegistry({ store, clock, random: () => 0.5, idleMs: 60_000 });
  t.after(() => registry.close());
  await firstEvent(registry, clock, null);
  return { store, clock, registry };
}

/** The first event of a reader that has gone since. */
async function firstEvent(registry: Registry, clock: SimulatedClock, since: string | null) {
  const ending = new AbortController();
  const reader = await registry.reader({ since, signal: ending.signal });
  await clock.advance(0);
  const batch = reader.take();
  ending.abort();
  assert.ok(batch && batch !== 'end' && batch.events[0]);
  return new WeakRef(batch.events[0]);
}

async function isKept(event: WeakRef<RollEvent>): Promise<boolean> {
  for (let turn = 0; turn < 5; turn += 1) {
    await new Promise(setImmediate);
    collectGarbage();
  }
  return event.deref() !== undefined;
}

test('what was read for a reader that was far behind is kept for 30 s after its last use', async (t) => {
  const { store, clock, registry } = await setUp(t);
  const event = await firstEvent(registry, clock, '2');
  await passHealthy(clock, store, 20_000);
  await firstEvent(registry, clock, '3');
  await passHealthy(clock, store, 25_000);
  await firstEvent(registry, clock, '4');
  assert.equal(registry.status().catchUps, 1);
  assert.equal(await isKept(event), true);
  await passHealthy(clock, store, 30_000);
  assert.equal(await isKept(event), false);
  await firstEvent(registry, clock, '4');
  assert.equal(registry.status().catchUps, 2);
});

test('it is not kept beside what is read next where the log has moved on', async (t) => {
  const { store, clock, registry } = await setUp(t);
  const event = await firstEvent(registry, clock, '2');
  store.compact();
  await clock.advance(1_000);
  assert.equal(registry.status().snapshots, 2);
  assert.equal(await isKept(event), true);
  await firstEvent(registry, clock, '2');
  assert.deepEqual([registry.status().catchUps, await isKept(event)], [2, false]);
});

test('the events of a watch that has ended without readers are not kept', async (t) => {
  const { store, clock, registry } = await setUp(t);
  const since = store.revision();
  store.commit(nodes(20, 21));
  await clock.advance(0);
  const event = await firstEvent(registry, clock, since);
  assert.equal(registry.status().catchUps, 0);
  assert.equal(await isKept(event), true);
  await passHealthy(clock, store, 65_000);
  assert.equal(registry.status().watching, false);
  assert.equal(await isKept(event), false);
});
