import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { holdLosses } from '../../src/registry/hold.ts';
import { createRegistry, type RegistryOptions } from '../../src/registry/registry.ts';
import { fakeStore } from '../support/fake-store.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import { nodes, passHealthy, reader, setUp, slowPast } from './losses-setup.ts';

/** All that came, in one line. */
function kindsOf(consumer: ReturnType<typeof reader>): string {
  const kinds = consumer.take().map(([kinds]) => kinds);
  return kinds.filter((each) => each !== '').join(' ');
}

/** A process that starts now, and a consumer of each kind that resumes at it. */
function startProcess(t: TestContext, { store, clock }: Setup, options: Partial<RegistryOptions> = {}) {
  const registry = createRegistry({ store, clock, random: () => 0.5, ...options });
  t.after(() => registry.close());
  return {
    registry,
    facts: (since: string | null, known?: Roll) => reader(registry, since, known),
    holding: (since: string | null, known?: Roll) => reader(holdLosses(registry), since, known),
  };
}

type Setup = Pick<Awaited<ReturnType<typeof setUp>>, 'store' | 'clock'>;
type Roll = ReturnType<ReturnType<typeof reader>['roll']>;

test('a reader that resumes from before the losses reads on, and gets them again', async (t) => {
  const w = await setUp(t);
  w.store.commit(nodes(0, 10, null));
  await w.clock.advance(0);
  const facts = await w.read('2');
  const holding = reader(holdLosses(w.registry), '2', w.consumer.roll());
  await w.clock.advance(0);
  assert.deepEqual(facts.take(), [
    ['uncertain', '2'],
    ['uncertain lost?×10', '3'],
  ]);
  assert.deepEqual(
    holding.take().map(([, cursor]) => cursor),
    ['2', '2'],
  );
  await passHealthy(w.clock, w.store, 35_000);
  assert.deepEqual(holding.take(), [['certain lost×10', '3']]);
});

test('a node of a past mass loss that was forgotten has not returned: its loss is sent, without a mark', async (t) => {
  const w = await setUp(t);
  const known = w.consumer.roll();
  w.store.commit(nodes(0, 10, null));
  await w.clock.advance(0);
  w.store.commit([], [...known.keys()].slice(0, 10));
  const process = startProcess(t, w);
  const [facts, holding] = [process.facts('2', known), process.holding('2', known)];
  await w.clock.advance(0);
  for (const each of [facts, holding]) assert.equal(kindsOf(each), 'lost×10 forgotten×10');
});

test('a process that starts with a cursor from before a mass loss is uncertain like one that saw it happen', async (t) => {
  const w = await setUp(t);
  const known = w.consumer.roll();
  w.store.commit(nodes(0, 10, null));
  const process = startProcess(t, w);
  const [facts, holding] = [process.facts('2', known), process.holding('2', known)];
  await w.clock.advance(0);
  assert.deepEqual(facts.take(), [
    ['uncertain', '2'],
    ['lost?×10', '3'],
    ['', '3'],
    ['uncertain', '3'],
  ]);
  assert.equal(process.registry.status().massLosses, 0, 'an alert for it would come hours late');
  assert.deepEqual(holding.states(), { present: 20 });
  w.store.commit(nodes(0, 4));
  await passHealthy(w.clock, w.store, 35_000);
  assert.deepEqual(facts.take(), [
    ['recovered×4', '4'],
    ['certain', '4'],
  ]);
  assert.deepEqual(holding.take().at(-1), ['certain lost×6', '4'], 'the nodes that returned were never lost');
});

test('where the store no longer has the losses after a cursor, many nodes that are lost are uncertain all the same', async (t) => {
  const w = await setUp(t);
  const known = w.consumer.roll();
  w.store.commit(nodes(0, 10, null));
  w.store.compact();
  const process = startProcess(t, w);
  // It knows nothing from before: its snapshot is the roll of now, and must not be shared with the next two.
  const unaware = process.facts(null);
  await w.clock.advance(0);
  assert.equal(kindsOf(unaware), 'lost×10 registered×10 synced');
  const [facts, holding] = [process.facts('2', known), process.holding('2', known)];
  await w.clock.advance(0);
  assert.equal(kindsOf(facts), 'lost?×10 registered×10 uncertain synced');
  assert.deepEqual(holding.states(), { present: 20 });
  assert.equal(holding.take().at(-1)?.[1], null, 'a cursor from here on would not have the losses');
  w.store.commit(nodes(0, 4));
  await passHealthy(w.clock, w.store, 35_000);
  assert.equal(kindsOf(facts), 'recovered×4 certain');
  assert.equal(kindsOf(holding), 'recovered×4 certain lost×6');
  for (const each of [facts, holding]) assert.deepEqual(each.roll(), unaware.roll());
  const later = process.holding('2', known);
  await w.clock.advance(0);
  assert.deepEqual(later.states(), { present: 14, lost: 6 }, 'after a TTL they do not return');
});

test('what is lost in such a snapshot is uncertain for the shortest TTL of the present nodes, and 30 s at least', async (t) => {
  const presence = (ttlSeconds: number) => ({ session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds });
  for (const [shortestSeconds, heldMs] of [
    [60, 60_000],
    [10, 30_000],
  ] as const) {
    const [store, clock] = [fakeStore(), simulatedClock()];
    store.commit([...nodes(0, 19, presence(shortestSeconds)), ...nodes(19, 20, presence(3_600))]);
    store.commit(nodes(0, 10, null));
    store.compact();
    const facts = startProcess(t, { store, clock }).facts('2');
    await clock.advance(0);
    assert.equal(kindsOf(facts), 'lost?×10 registered×10 uncertain synced');
    await passHealthy(clock, store, heldMs - 5_000);
    assert.equal(kindsOf(facts), '', `${shortestSeconds} s`);
    await passHealthy(clock, store, 10_000);
    assert.equal(kindsOf(facts), 'certain', `${shortestSeconds} s`);
  }
});

test('few lost nodes, or a process without limits, are certain there', async (t) => {
  const w = await setUp(t);
  w.store.commit(nodes(0, 4, null));
  w.store.compact();
  const process = startProcess(t, w);
  const [few, off] = [process.holding('2'), startProcess(t, w, { massLoss: null }).holding('2')];
  await w.clock.advance(0);
  for (const each of [few, off]) assert.equal(kindsOf(each), 'lost×4 registered×16 synced');
  w.store.commit(nodes(4, 10, null));
  w.store.compact();
  const all = startProcess(t, w, { massLoss: null }).holding('2');
  await w.clock.advance(0);
  assert.deepEqual(all.states(), { present: 10, lost: 10 });
});

test('a past of four changes for each node is read, however many nodes there are', async (t) => {
  const [store, clock] = [fakeStore(), simulatedClock()];
  store.commit(nodes(0, 7_000));
  // Each writes a record and a presence.
  for (const presence of [null, undefined, null]) store.commit(nodes(0, 4_000, presence));
  const facts = startProcess(t, { store, clock }).facts('2');
  await clock.advance(0);
  assert.match(kindsOf(facts), /^(uncertain )*(lost\?×\d+ )+(recovered×\d+ )+(lost\?×\d+ )+uncertain$/);
});

test('a process that starts with a cursor from before few losses sends them as they happened', async (t) => {
  const w = await setUp(t);
  w.store.commit(nodes(0, 4, null));
  const process = startProcess(t, w);
  const each = [process.facts('2'), process.holding('2')];
  await w.clock.advance(0);
  for (const consumer of each) {
    assert.deepEqual(
      consumer.take().filter(([kinds]) => kinds !== ''),
      [['lost×4', '3']],
    );
  }
});

test('readers that resume together during a mass loss all get uncertain, and certain a TTL after the process started', async (t) => {
  const w = await setUp(t);
  w.store.commit(nodes(0, 10, null));
  const process = startProcess(t, w);
  const readers = [process.facts('2'), process.facts('2'), process.facts('1')];
  await w.clock.advance(0);
  for (const each of readers) {
    const kinds = kindsOf(each);
    assert.match(kinds, /lost\?×10/);
    assert.match(kinds, /uncertain/);
  }
  await passHealthy(w.clock, w.store, 35_000);
  for (const each of readers) assert.deepEqual(each.take(), [['certain', '3']]);
});

test('a process that has followed the roll for a TTL knows that nodes of an older mass loss do not return', async (t) => {
  const w = await setUp(t);
  const known = w.consumer.roll();
  w.store.commit(nodes(0, 10, null));
  const process = startProcess(t, w);
  process.facts(null);
  await passHealthy(w.clock, w.store, 35_000);
  const [facts, holding] = [process.facts('2', known), process.holding('2', known)];
  await w.clock.advance(0);
  for (const each of [facts, holding]) assert.equal(kindsOf(each), 'lost×10');
});

test('a reader that was away during a mass loss gets all of it; behind the filter no node that returned was lost', async (t) => {
  const w = await setUp(t);
  const known = w.consumer.roll();
  w.store.commit(nodes(0, 10, null));
  w.store.commit(nodes(0, 8));
  const process = startProcess(t, w);
  const [facts, holding] = [process.facts('2', known), process.holding('2', known)];
  await w.clock.advance(0);
  assert.match(kindsOf(facts), /^(uncertain )+lost\?×10 recovered×8 uncertain$/);
  assert.deepEqual(holding.states(), { present: 20 }, 'the other two may return yet');
  w.store.commit(nodes(8, 9));
  await passHealthy(w.clock, w.store, 35_000);
  assert.match(kindsOf(holding), /certain lost$/);
  for (const each of [facts, holding]) assert.deepEqual(each.states(), { present: 19, lost: 1 });
});

test('the same when all have returned: it is over in the past already', async (t) => {
  const w = await setUp(t);
  w.store.commit(nodes(0, 10, null));
  w.store.commit(nodes(0, 10));
  const process = startProcess(t, w);
  const [facts, holding] = [process.facts('2'), process.holding('2')];
  await w.clock.advance(0);
  assert.equal(kindsOf(facts), 'lost?×10 recovered×10');
  // It may have been sent the losses by another process, and have ended before its cursor moved.
  assert.equal(kindsOf(holding), 'recovered×10');
});

test('while the past is read, what happens meanwhile is not missed, and a `certain` about others is not about it', async (t) => {
  const w = await setUp(t);
  const known = w.consumer.roll();
  w.store.commit(nodes(0, 10, null));
  const { store: slow, release } = slowPast(w.store);
  const process = startProcess(t, { ...w, store: slow });
  const holding = process.holding('2', known);
  await w.clock.advance(0);
  // Others vanish and return, which is uncertain and certain again.
  w.store.commit(nodes(10, 18, null));
  await w.clock.advance(0);
  w.store.commit(nodes(10, 18));
  w.store.commit(nodes(0, 1));
  await w.clock.advance(0);
  release();
  await w.clock.advance(0);
  assert.deepEqual(holding.states(), { present: 20 });
  await passHealthy(w.clock, w.store, 35_000);
  assert.deepEqual(holding.states(), { present: 11, lost: 9 });
});

test('nodes that return while the past is read are not lost', async (t) => {
  const w = await setUp(t);
  w.store.commit(nodes(0, 10, null));
  const { store: slow, release } = slowPast(w.store);
  const process = startProcess(t, { ...w, store: slow });
  const [facts, holding] = [process.facts('2'), process.holding('2')];
  await w.clock.advance(0);
  w.store.commit(nodes(0, 10));
  await w.clock.advance(0);
  release();
  await w.clock.advance(0);
  assert.equal(kindsOf(facts), 'lost?×10 recovered×10');
  assert.equal(kindsOf(holding), 'recovered×10');
  assert.equal(process.registry.status().uncertainLosses, 0);
});

test('readers that resume together after a mass loss read the past once', async (t) => {
  const w = await setUp(t);
  w.store.commit(nodes(0, 10, null));
  w.store.commit(nodes(0, 8));
  w.store.commit(nodes(20, 21));
  const { registry, facts } = startProcess(t, w);
  const readers = Array.from({ length: 10 }, () => facts('2', w.consumer.roll()));
  await w.clock.advance(0);
  for (const each of readers) assert.deepEqual(each.states(), { present: 19, lost: 2 });
  assert.ok(registry.status().catchUps <= 2, `${registry.status().catchUps} times`);
  // A reader that was there at the end gets the changes that followed.
  const later = facts('4');
  await w.clock.advance(0);
  assert.match(kindsOf(later), /registered/);
});

test('a reader that was away while few nodes were lost and returned gets all of it', async (t) => {
  const w = await setUp(t);
  for (const from of [0, 4, 8]) {
    w.store.commit(nodes(from, from + 4, null));
    w.store.commit(nodes(from, from + 4));
  }
  const resumed = startProcess(t, w).facts('2');
  await w.clock.advance(0);
  assert.equal(kindsOf(resumed), 'lost×4 recovered×4 lost×4 recovered×4 lost×4 recovered×4');
});

test('with the verdict off the past is replayed as it happened', async (t) => {
  const w = await setUp(t);
  w.store.commit(nodes(0, 10, null));
  w.store.commit(nodes(0, 8));
  const resumed = startProcess(t, w, { massLoss: null }).facts('2');
  await w.clock.advance(0);
  assert.deepEqual(resumed.take(), [
    ['lost×10', '3'],
    ['recovered×8', '4'],
    ['', '4'],
  ]);
});

/** The roll and cursor of a reader that got the nodes as lost from a process that started during the losses and then ended. */
async function gotLosses({ store, clock }: Setup) {
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  const received = reader(registry, null);
  await clock.advance(0);
  await registry.close();
  assert.equal(received.states()['lost'], 10);
  return { roll: received.roll(), since: received.take().at(-1)?.[1] ?? null };
}

test('a reader that got `lost` from another process learns that the nodes returned', async (t) => {
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

test('a cursor from before the losses, as earlier versions kept it in a mass loss, continues with whatever became of them', async (t) => {
  const { store, clock, holding } = await setUp(t);
  store.commit(nodes(0, 10, null));
  await passHealthy(clock, store, 35_000);
  assert.deepEqual(holding.states(), { present: 10, lost: 10 });
  // Such a consumer has handled the losses already, and has them again.
  const next = startProcess(t, { store, clock }).facts('2', holding.roll());
  await clock.advance(0);
  store.commit(nodes(0, 10));
  await passHealthy(clock, store, 35_000);
  assert.deepEqual(next.states(), { present: 20 });
});
