import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRegistry } from '../../src/registry/registry.ts';
import { sampleInstanceId } from '../support/sample-record.ts';

import { nodes, passHealthy, reader, setUp, slowPast } from './losses-setup.ts';

test('a reader that resumes while losses are held gets a new snapshot, and misses none of them', async (t) => {
  const { store, clock, read } = await setUp(t);
  store.commit(nodes(0, 10, null));
  await clock.advance(0);
  const resumed = await read('2');
  assert.deepEqual(resumed.take(), [
    ['registered×20', null],
    ['synced', '2'],
    ['uncertain', '2'],
  ]);
  await passHealthy(clock, store, 35_000);
  assert.deepEqual(resumed.take(), [['certain lost×10', '3']]);
});

test('a process that starts with a cursor from before a mass loss holds it back like one that saw it happen', async (t) => {
  const { store, clock } = await setUp(t);
  store.commit(nodes(0, 10, null));
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  t.after(() => registry.close());
  const resumed = reader(registry, '2');
  await clock.advance(0);
  assert.deepEqual(resumed.take(), [
    ['registered×20', null],
    ['uncertain synced', null],
  ]);
  store.commit(nodes(0, 4));
  await passHealthy(clock, store, 35_000);
  assert.deepEqual(resumed.take(), [['certain lost×6', '4']], 'the nodes that returned were never lost');
});

test('a process that starts with a cursor from before few losses sends them as they happened', async (t) => {
  const { store, clock } = await setUp(t);
  store.commit(nodes(0, 4, null));
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  t.after(() => registry.close());
  const resumed = reader(registry, '2');
  await clock.advance(0);
  assert.deepEqual(resumed.take(), [
    ['lost×4', '3'],
    ['', '3'],
  ]);
});

test('readers that resume together at a process that started during a mass loss all get uncertain', async (t) => {
  const { store, clock } = await setUp(t);
  store.commit(nodes(0, 10, null));
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  t.after(() => registry.close());
  const readers = [reader(registry, '2'), reader(registry, '2'), reader(registry, '1')];
  await clock.advance(0);
  for (const each of readers) {
    assert.deepEqual(
      each.take().flatMap(([kinds]) => kinds.split(' ')),
      ['registered×20', 'uncertain', 'synced'],
    );
  }
  await passHealthy(clock, store, 35_000);
  for (const each of readers) assert.deepEqual(each.take(), [['certain lost×10', '3']]);
});

test('past losses are not held back once any reader has got them', async (t) => {
  const { store, clock, consumer } = await setUp(t);
  const known = consumer.roll();
  store.commit(nodes(0, 10, null));
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  t.after(() => registry.close());
  const first = reader(registry, null);
  await clock.advance(0);
  assert.deepEqual(first.states(), { present: 10, lost: 10 });
  const resumed = reader(registry, '2', known);
  await clock.advance(0);
  assert.deepEqual(resumed.take(), [
    ['lost×10 registered×10', null],
    ['synced', '3'],
  ]);
  store.commit(nodes(0, 10));
  await clock.advance(0);
  for (const each of [first, resumed]) assert.deepEqual(each.states(), { present: 20 });
});

test('a reader that was away during a mass loss gets no `lost` for nodes that returned', async (t) => {
  const { store, clock } = await setUp(t);
  store.commit(nodes(0, 10, null));
  store.commit(nodes(0, 8));
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  t.after(() => registry.close());
  const resumed = reader(registry, '2');
  await clock.advance(0);
  assert.deepEqual(resumed.take(), [
    ['registered×8 lost×2 registered×10', null],
    ['synced', '4'],
  ]);
});

test('a process that starts during a mass loss holds back the nodes that are still gone, although others have returned', async (t) => {
  const { store, clock } = await setUp(t);
  store.commit(nodes(0, 10, null));
  store.commit(nodes(0, 2));
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  t.after(() => registry.close());
  const resumed = reader(registry, '2');
  await clock.advance(0);
  assert.deepEqual(resumed.take(), [
    ['registered×20', null],
    ['uncertain synced', null],
  ]);
  store.commit(nodes(0, 10));
  await passHealthy(clock, store, 35_000);
  assert.deepEqual(resumed.states(), { present: 20 });
});

test('it does so also while some return and others are lost', async (t) => {
  const { store, clock } = await setUp(t);
  store.commit(nodes(0, 10, null));
  const { store: slow, release } = slowPast(store);
  const registry = createRegistry({ store: slow, clock, random: () => 0.5 });
  t.after(() => registry.close());
  const resumed = reader(registry, '2');
  await clock.advance(0);
  store.commit(nodes(0, 1));
  store.commit(nodes(10, 12, null));
  await clock.advance(1_000);
  // One that is new, and already held when the past is known.
  store.commit(nodes(20, 21));
  store.overdueIds = new Set(Array.from({ length: 20 }, (_, n) => sampleInstanceId(n)));
  store.commit(nodes(20, 21, null));
  await clock.advance(0);
  release();
  await clock.advance(0);
  assert.deepEqual(resumed.take(), [
    ['registered×21', null],
    ['uncertain synced', null],
  ]);
  assert.deepEqual(resumed.states(), { present: 21 });
});

test('readers that resume together after a mass loss read the past once', async (t) => {
  const { store, clock } = await setUp(t);
  store.commit(nodes(0, 10, null));
  store.commit(nodes(0, 8));
  store.commit(nodes(20, 21));
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  t.after(() => registry.close());
  const readers = Array.from({ length: 10 }, () => reader(registry, '2'));
  await clock.advance(0);
  for (const each of readers) assert.deepEqual(each.states(), { present: 19, lost: 2 });
  assert.ok(registry.status().catchUps <= 2, `${registry.status().catchUps} times`);
  // A reader that was there at the end gets the changes that followed.
  const later = reader(registry, '4');
  await clock.advance(0);
  assert.deepEqual(later.take()[0], ['registered', '5']);
});

test('a reader that got uncertain from another process learns here that it is over', async (t) => {
  const { store, clock } = await setUp(t);
  store.commit(nodes(0, 10, null));
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  t.after(() => registry.close());
  reader(registry, null);
  await clock.advance(0);
  const resumed = reader(registry, '2');
  await clock.advance(0);
  assert.match(
    resumed
      .take()
      .map(([kinds]) => kinds)
      .join(' '),
    /certain|synced/,
  );
  assert.deepEqual(resumed.states(), { present: 10, lost: 10 });
});

test('a reader that was away while few nodes were lost and returned gets all of it', async (t) => {
  const { store, clock } = await setUp(t);
  for (const from of [0, 4, 8]) {
    store.commit(nodes(from, from + 4, null));
    store.commit(nodes(from, from + 4));
  }
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  t.after(() => registry.close());
  const resumed = reader(registry, '2');
  await clock.advance(0);
  assert.equal(
    resumed
      .take()
      .map(([kinds]) => kinds)
      .join(' '),
    'lost×4 recovered×4 '.repeat(3),
  );
});

test('with the guard off the past is replayed as it happened', async (t) => {
  const { store, clock } = await setUp(t);
  store.commit(nodes(0, 10, null));
  store.commit(nodes(0, 8));
  const registry = createRegistry({ store, clock, random: () => 0.5, massLoss: null });
  t.after(() => registry.close());
  const resumed = reader(registry, '2');
  await clock.advance(0);
  assert.deepEqual(resumed.take(), [
    ['lost×10', '3'],
    ['recovered×8', '4'],
    ['', '4'],
  ]);
});

/** The roll and cursor of a reader that got the nodes as lost from a process that started during the losses and then ended. */
async function gotLosses({ store, clock }: Pick<Awaited<ReturnType<typeof setUp>>, 'store' | 'clock'>) {
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  const received = reader(registry, null);
  await clock.advance(0);
  await registry.close();
  assert.equal(received.states()['lost'], 10);
  return { roll: received.roll(), since: received.take().at(-1)?.[1] ?? null };
}

test('a reader that got `lost` from another process learns that the nodes returned, although this process never sent their loss', async (t) => {
  const { store, clock, read } = await setUp(t);
  store.commit(nodes(0, 10, null));
  await clock.advance(0);
  const { roll, since } = await gotLosses({ store, clock });
  const meanwhile = await read(since, roll);
  store.commit(nodes(0, 10));
  await passHealthy(clock, store, 35_000);
  const later = await read(since, roll);
  for (const each of [meanwhile, later]) assert.deepEqual(each.states(), { present: 20 });
});

test('so does a reader that got a loss which this process has not seen yet', async (t) => {
  const { store, clock, read } = await setUp(t);
  store.cutWatches();
  store.commit(nodes(0, 10, null));
  const { roll, since } = await gotLosses({ store, clock });
  // The second was cut off before its cursor came.
  const ahead = [await read(since, roll), await read('2', roll)];
  store.commit(nodes(0, 10));
  await passHealthy(clock, store, 35_000);
  for (const each of ahead) assert.deepEqual(each.states(), { present: 20 });
});

test('a watch that ended behind its cursor after sending the losses continues with the nodes that return', async (t) => {
  const { store, clock, consumer } = await setUp(t);
  store.commit(nodes(0, 10, null));
  await passHealthy(clock, store, 35_000);
  assert.deepEqual(consumer.states(), { present: 10, lost: 10 });
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  t.after(() => registry.close());
  const next = reader(registry, '2', consumer.roll());
  await clock.advance(0);
  store.commit(nodes(0, 10));
  await passHealthy(clock, store, 35_000);
  assert.deepEqual(next.states(), { present: 20 });
});
