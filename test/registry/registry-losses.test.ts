import assert from 'node:assert/strict';
import { test } from 'node:test';
import { presenceState } from '../../src/record/roll.ts';
import { holdLosses } from '../../src/registry/hold.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { fakeStore } from '../support/fake-store.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import { NEVER, nodes, passHealthy, reader, setUp } from './losses-setup.ts';

test('a single loss is sent as soon as the store was polled about the others', async (t) => {
  const { store, clock, registry, consumer } = await setUp(t);
  store.commit(nodes(3, 4, null));
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['lost', '3']]);
  assert.equal(store.overdueReads, 1);
  const { uncertainty, uncertainLosses } = registry.status();
  assert.deepEqual({ uncertainty, uncertainLosses }, { uncertainty: null, uncertainLosses: 0 });
});

test('mass losses are counted, each once however many nodes it takes and however long it lasts', async (t) => {
  const { store, clock, registry } = await setUp(t);
  assert.equal(registry.status().massLosses, 0);
  store.commit(nodes(0, 10, null));
  await clock.advance(0);
  assert.equal(registry.status().massLosses, 1);
  await passHealthy(clock, store, 20_000);
  store.commit(nodes(10, 16, null));
  await clock.advance(0);
  await passHealthy(clock, store, 70_000);
  assert.deepEqual([registry.status().uncertainty, registry.status().massLosses], [null, 1]);
  store.commit(nodes(0, 16));
  await clock.advance(0);
  store.commit(nodes(4, 14, null));
  await clock.advance(0);
  assert.deepEqual([registry.status().uncertainty?.vanished, registry.status().massLosses], [10, 2]);
});

test('with the verdict off a loss is sent at once, and the store is not polled', async (t) => {
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

test('while a loss waits for its verdict, everything after it waits, a new reader starts before it, and it may return', async (t) => {
  const { store, clock, registry, read, consumer } = await setUp(t);
  store.overdue = () => new Promise(() => {});
  store.commit(nodes(3, 4, null));
  store.commit(nodes(20, 21));
  store.confirm();
  await clock.advance(0);
  const late = await read();
  const resumed = await read('2');
  assert.deepEqual(late.take(), [
    ['registered×20', null],
    ['synced', '2'],
  ]);
  const { uncertainLosses, roll } = await registry.read(NEVER);
  assert.deepEqual([[...uncertainLosses], roll.revision], [[sampleInstanceId(3)], '4']);
  await clock.advance(500);
  for (const each of [consumer, late, resumed]) {
    assert.deepEqual(each.take(), [
      ['lost', '3'],
      ['registered', '4'],
    ]);
  }
  assert.equal((await registry.read(NEVER)).uncertainLosses.size, 0);
});

test('many losses are sent as uncertain; behind the filter nodes that return within a TTL were never lost', async (t) => {
  const { store, clock, registry, consumer, holding } = await setUp(t);
  store.commit(nodes(0, 10, null));
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['uncertain lost?×10', '3']]);
  assert.deepEqual(holding.take(), [['uncertain', '2']]);
  const { uncertainty, uncertainLosses, roll } = await registry.read(NEVER);
  assert.deepEqual([uncertainty?.vanished, uncertainty?.nodes, uncertainLosses.size], [10, 20, 10]);
  assert.equal(roll.entries.filter((entry) => presenceState(entry) === 'lost').length, 10);
  assert.deepEqual([registry.status().uncertainty, registry.status().uncertainLosses], [uncertainty, 10]);

  await passHealthy(clock, store, 10_000);
  store.commit(nodes(0, 8));
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['recovered×8', '4']]);
  assert.deepEqual(holding.take(), []);
  await passHealthy(clock, store, 25_000);
  assert.deepEqual(consumer.take(), [['certain', '4']]);
  assert.deepEqual(holding.take(), [['certain lost×2', '4']]);
  for (const each of [consumer, holding]) assert.deepEqual(each.states(), { present: 18, lost: 2 });
  assert.deepEqual([registry.status().uncertainty, registry.status().uncertainLosses], [null, 0]);
});

test('readers that start while it is uncertain hear so: lost nodes are marked, and behind the filter they are present', async (t) => {
  const { store, clock } = await setUp(t);
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  t.after(() => registry.close());
  await registry.read(NEVER);
  store.commit(nodes(0, 10, null));
  await clock.advance(0);
  const [facts, resumed] = [reader(registry, null), reader(registry, '3')];
  const holding = reader(holdLosses(registry), null);
  await clock.advance(0);
  assert.deepEqual(facts.take(), [
    ['lost?×10 registered×10', null],
    ['uncertain synced', '3'],
  ]);
  assert.deepEqual(resumed.take(), [['uncertain', '3']]);
  assert.deepEqual(holding.take(), [
    ['registered×20', null],
    ['uncertain synced', '2'],
  ]);
  store.commit(nodes(20, 21));
  await clock.advance(0);
  assert.deepEqual(holding.take(), [['registered', '2']]);
  await passHealthy(clock, store, 35_000);
  assert.deepEqual(holding.take(), [['certain lost×10', '4']]);
  for (const each of [facts, holding]) assert.deepEqual(each.states(), { present: 11, lost: 10 });
});

test('while the store is away nothing becomes certain, and the time to return stands still', async (t) => {
  const { store, clock, consumer, holding } = await setUp(t);
  store.commit(nodes(0, 10, null));
  await clock.advance(0);
  for (const each of [consumer, holding]) each.take();
  await passHealthy(clock, store, 20_000);
  store.mode = 'down';
  await clock.advance(120_000);
  for (const each of [consumer, holding]) assert.deepEqual(each.take(), []);
  store.commit(nodes(0, 4));
  store.mode = 'up';
  await clock.advance(5_000);
  store.confirm();
  await clock.advance(9_000);
  store.commit(nodes(4, 8));
  await clock.advance(900);
  store.confirm();
  await clock.advance(0);
  assert.deepEqual(holding.take(), []);
  await clock.advance(100);
  store.confirm();
  await clock.advance(0);
  assert.deepEqual(holding.take(), [['certain lost×2', '5']]);
});

test('nothing becomes certain by a watch that may be broken until it brings a batch', async (t) => {
  const { store, clock, holding } = await setUp(t);
  store.commit(nodes(0, 10, null));
  await passHealthy(clock, store, 15_000);
  holding.take();
  await clock.advance(20_000);
  assert.deepEqual(holding.take(), []);
  store.confirm();
  await clock.advance(0);
  assert.deepEqual(holding.take(), [['certain lost×10', '3']]);
});

test('a watch that is behind ends no uncertainty: its next changes may bring more nodes back', async (t) => {
  const { store, clock, holding } = await setUp(t);
  store.commit(nodes(0, 10, null));
  await passHealthy(clock, store, 25_000);
  holding.take();
  await clock.advance(10_000);
  store.commit(nodes(0, 1));
  await clock.advance(0);
  store.confirm(10_000);
  await clock.advance(0);
  assert.deepEqual(holding.take(), []);
  store.commit(nodes(1, 9));
  store.confirm();
  await clock.advance(0);
  assert.deepEqual(holding.take(), []);
  store.confirm();
  await clock.advance(0);
  assert.deepEqual(holding.take(), [['certain lost', '5']]);
});

test('losses that a new snapshot brings are uncertain, too, and behind the filter present in it, without a cursor', async (t) => {
  const { store, clock, consumer, holding } = await setUp(t);
  store.cutWatches();
  store.commit(nodes(0, 10, null));
  store.compact();
  await clock.advance(5_000);
  assert.deepEqual(consumer.take(), [
    ['lost?×10 registered×10', null],
    ['uncertain synced', '4'],
  ]);
  assert.deepEqual(holding.take(), [
    ['registered×20', null],
    ['uncertain synced', null],
  ]);
  await passHealthy(clock, store, 35_000);
  assert.deepEqual(consumer.take(), [['certain', '4']]);
  assert.deepEqual(holding.take(), [['certain lost×10', '4']]);
  for (const each of [consumer, holding]) assert.deepEqual(each.states(), { present: 10, lost: 10 });
});

test('a snapshot with few losses waits for the verdict about them, and a later one replaces it', async (t) => {
  const { store, clock, consumer, holding } = await setUp(t);
  store.overdue = () => new Promise(() => {});
  for (const lost of [3, 4]) {
    store.commit(nodes(lost, lost + 1, null));
    store.compact();
    await clock.advance(300);
    assert.deepEqual(consumer.take(), []);
  }
  await clock.advance(5_000);
  store.confirm();
  await clock.advance(500);
  for (const each of [consumer, holding]) assert.deepEqual(each.states(), { present: 18, lost: 2 });
});

test('an uncertainty goes on although there is no reader for a while', async (t) => {
  const store = fakeStore();
  const clock = simulatedClock();
  const registry = createRegistry({ store, clock, random: () => 0.5, idleMs: 1_000 });
  t.after(() => registry.close());
  store.commit(nodes(0, 20));
  await registry.read(NEVER);
  store.commit(nodes(0, 10, null));
  await clock.advance(0);
  await passHealthy(clock, store, 25_000);
  assert.deepEqual([registry.status().watching, (await registry.read(NEVER)).uncertainLosses.size], [true, 10]);
  await passHealthy(clock, store, 15_000);
  assert.deepEqual([registry.status().watching, registry.status().uncertainLosses], [false, 0]);
  assert.equal(clock.sleepers(), 0);
});

test('a watch that is down when its last reader has gone is reported as such no more', async (t) => {
  const told: boolean[] = [];
  const { store, clock, registry } = await setUp(t, { onWatch: (down) => told.push(down !== null) });
  await registry.close();
  const other = createRegistry({ store, clock, random: () => 0.5, onWatch: (down) => told.push(down !== null) });
  t.after(() => other.close());
  await other.read(NEVER);
  store.mode = 'hung';
  await clock.advance(20_000);
  assert.deepEqual(told, [true]);
  await clock.advance(200_000);
  assert.equal(other.status().watching, false);
  assert.deepEqual(told, [true, false]);
  store.mode = 'up';
  await other.read(NEVER);
  await clock.advance(10_000);
  assert.deepEqual(told, [true, false]);
});
