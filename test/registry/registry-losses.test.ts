import assert from 'node:assert/strict';
import { test } from 'node:test';
import { presenceState } from '../../src/record/roll.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { fakeStore } from '../support/fake-store.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

import { NEVER, nodes, passHealthy, setUp } from './losses-setup.ts';

test('a single loss is sent as soon as the store was polled about the others', async (t) => {
  const { store, clock, registry, consumer } = await setUp(t);
  store.commit(nodes(3, 4, null));
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['lost', '3']]);
  assert.equal(store.overdueReads, 1);
  const { uncertainty, heldLosses } = registry.status();
  assert.deepEqual({ uncertainty, heldLosses }, { uncertainty: null, heldLosses: 0 });
});

test('with the guard off a loss is sent at once, and the store is not polled', async (t) => {
  const { store, clock, consumer } = await setUp(t, { massLoss: null });
  store.commit(nodes(0, 20, null));
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['lost×20', '3']]);
  assert.equal(store.overdueReads, 0);
});

test('a loss about which the store does not answer is sent anyway, while the watch confirms the roll', async (t) => {
  const { store, clock, consumer } = await setUp(t);
  store.overdue = () => new Promise(() => {});
  store.commit(nodes(3, 4, null));
  await clock.advance(499);
  assert.deepEqual(consumer.take(), []);
  await clock.advance(1);
  assert.deepEqual(consumer.take(), [['lost', '3']]);
});

test('many losses are uncertain first; nodes that return within a TTL were never lost, the others are then lost', async (t) => {
  const { store, clock, registry, consumer } = await setUp(t);
  store.commit(nodes(0, 10, null));
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['uncertain', '2']]);
  const { uncertainty, held, roll } = await registry.read(NEVER);
  assert.deepEqual([uncertainty?.vanished, uncertainty?.nodes, held.size], [10, 20, 10]);
  assert.equal(roll.entries.filter((entry) => presenceState(entry) === 'lost').length, 10);
  assert.deepEqual([registry.status().uncertainty, registry.status().heldLosses], [uncertainty, 10]);

  await passHealthy(clock, store, 10_000);
  store.commit(nodes(0, 8));
  await clock.advance(0);
  assert.deepEqual(consumer.take(), []);
  await passHealthy(clock, store, 25_000);
  const received = consumer.take();
  assert.deepEqual(received, [['certain lost×2', '4']]);
  assert.deepEqual(consumer.states(), { present: 18, lost: 2 });
  assert.deepEqual([registry.status().uncertainty, registry.status().heldLosses], [null, 0]);
});

test('a reader that starts while it is uncertain gets the held nodes as present, uncertain, and a cursor from before the losses', async (t) => {
  const { store, clock, read } = await setUp(t);
  store.commit(nodes(0, 10, null));
  await clock.advance(0);
  const late = await read();
  assert.deepEqual(late.take(), [
    ['registered×20', null],
    ['synced', '2'],
    ['uncertain', '2'],
  ]);
  store.commit(nodes(20, 21));
  await clock.advance(0);
  assert.deepEqual(late.take(), [['registered', '2']]);
  await passHealthy(clock, store, 35_000);
  assert.deepEqual(late.take(), [['certain lost×10', '4']]);
  assert.deepEqual(late.states(), { present: 11, lost: 10 });
});

test('while the store is away no `lost` is sent, and the time to return stands still', async (t) => {
  const { store, clock, consumer } = await setUp(t);
  store.commit(nodes(0, 10, null));
  await clock.advance(0);
  consumer.take();
  await passHealthy(clock, store, 20_000);
  store.mode = 'down';
  await clock.advance(120_000);
  assert.deepEqual(consumer.take(), []);
  store.commit(nodes(0, 4));
  store.mode = 'up';
  await clock.advance(5_000);
  store.confirm();
  await clock.advance(9_000);
  store.commit(nodes(4, 8));
  await clock.advance(900);
  assert.deepEqual(consumer.take(), []);
  await clock.advance(100);
  assert.deepEqual(consumer.take(), [['certain lost×2', '5']]);
});

test('no `lost` is sent from a watch that may be broken until it brings a batch', async (t) => {
  const { store, clock, consumer } = await setUp(t);
  store.commit(nodes(0, 10, null));
  await passHealthy(clock, store, 15_000);
  consumer.take();
  await clock.advance(20_000);
  assert.deepEqual(consumer.take(), []);
  store.confirm();
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['certain lost×10', '3']]);
});

test('losses that a new snapshot brings are held, too, and shown as present in it', async (t) => {
  const { store, clock, consumer } = await setUp(t);
  store.cutWatches();
  store.commit(nodes(0, 10, null));
  store.compact();
  await clock.advance(5_000);
  assert.deepEqual(consumer.take(), [
    ['registered×20', null],
    ['uncertain synced', null],
  ]);
  await passHealthy(clock, store, 35_000);
  assert.deepEqual(consumer.take(), [['certain lost×10', '4']]);
  assert.deepEqual(consumer.states(), { present: 10, lost: 10 });
});

test('held losses are kept although there is no reader for a while', async (t) => {
  const store = fakeStore();
  const clock = simulatedClock();
  const registry = createRegistry({ store, clock, random: () => 0.5, idleMs: 1_000 });
  t.after(() => registry.close());
  store.commit(nodes(0, 20));
  await registry.read(NEVER);
  store.commit(nodes(0, 10, null));
  await clock.advance(0);
  await passHealthy(clock, store, 25_000);
  assert.deepEqual([registry.status().watching, (await registry.read(NEVER)).held.size], [true, 10]);
  await passHealthy(clock, store, 15_000);
  assert.deepEqual([registry.status().watching, registry.status().heldLosses], [false, 0]);
  assert.equal(clock.sleepers(), 0);
});
