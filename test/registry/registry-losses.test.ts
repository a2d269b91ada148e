import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { RollEvent } from '../../src/record/events.ts';
import { presenceState, type RollEntry } from '../../src/record/roll.ts';
import type { EventBatch } from '../../src/registry/event-source.ts';
import { createRegistry, type RegistryOptions } from '../../src/registry/registry.ts';
import { applyEvent } from '../support/apply-event.ts';
import { fakeStore } from '../support/fake-store.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { type SimulatedClock, simulatedClock } from '../support/simulated-clock.ts';

const NEVER = new AbortController().signal;
const PRESENCE = { session: 'session-a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };

function nodes(from: number, to: number, presence: RollEntry['presence'] = PRESENCE): readonly RollEntry[] {
  return Array.from({ length: to - from }, (_, n) => ({
    record: sampleRecord({ ec2InstanceId: sampleInstanceId(from + n) }),
    presence,
  }));
}

/** Twenty present nodes, at revision 2, and a registry that is read. */
async function setUp(t: TestContext, options: Partial<RegistryOptions> = {}) {
  const store = fakeStore();
  const clock = simulatedClock();
  const registry = createRegistry({ store, clock, random: () => 0.5, ...options });
  t.after(() => registry.close());
  store.commit(nodes(0, 20));
  const read = async (since: string | null = null, known?: ReadonlyMap<string, RollEntry>) => {
    const started = reader(registry, since, known);
    await clock.advance(0);
    return started;
  };
  const consumer = await read();
  consumer.take();
  return { store, clock, registry, read, consumer };
}

/** @param known the roll that the reader has already */
function reader(
  registry: ReturnType<typeof createRegistry>,
  since: string | null,
  known: ReadonlyMap<string, RollEntry> = new Map(),
) {
  const batches: EventBatch[] = [];
  let roll = known;
  const run = async () => {
    for await (const batch of await registry.events({ since, signal: NEVER })) {
      batches.push(batch);
      roll = batch.events.reduce(applyEvent, roll);
    }
  };
  run().catch(() => {}); // the tests check what a reader got
  return {
    take: () => batches.splice(0).map(({ events, cursor }) => [brief(events), cursor] as const),
    roll: () => roll,
    states: () => count([...roll.values()].map(presenceState)),
  };
}

/** The same store, whose watches after the first, which are of the past, wait until they are released. */
function slowPast(store: ReturnType<typeof fakeStore>) {
  const released = Promise.withResolvers<void>();
  let watches = 0;
  const slow: ReturnType<typeof fakeStore> = Object.create(store, {
    watch: {
      value: async function* (...args: Parameters<typeof store.watch>) {
        watches += 1;
        if (watches > 1) await released.promise;
        yield* store.watch(...args);
      },
    },
  });
  return { store: slow, release: released.resolve };
}

/** `lost×3 synced`: kinds in order, with how often they follow one another. */
function brief(events: readonly RollEvent[]): string {
  const runs: { kind: string; times: number }[] = [];
  for (const { kind } of events) {
    const last = runs.at(-1);
    if (last?.kind === kind) last.times += 1;
    else runs.push({ kind, times: 1 });
  }
  return runs.map(({ kind, times }) => (times > 1 ? `${kind}×${times}` : kind)).join(' ');
}

function count(states: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const state of states) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

async function passHealthy(clock: SimulatedClock, store: ReturnType<typeof fakeStore>, ms: number) {
  for (let leftMs = ms; leftMs > 0; leftMs -= 5_000) {
    await clock.advance(Math.min(leftMs, 5_000));
    store.confirm();
    await clock.advance(0);
  }
}

test('a single loss is sent as soon as the store was polled about the others', async (t) => {
  const { store, clock, registry, consumer } = await setUp(t);
  store.commit(nodes(3, 4, null));
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['lost', '3']]);
  assert.equal(store.looks, 1);
  const { uncertainty, heldLosses } = registry.status();
  assert.deepEqual({ uncertainty, heldLosses }, { uncertainty: null, heldLosses: 0 });
});

test('with the guard off a loss is sent at once, and the store is not polled', async (t) => {
  const { store, clock, consumer } = await setUp(t, { massLoss: null });
  store.commit(nodes(0, 20, null));
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['lost×20', '3']]);
  assert.equal(store.looks, 0);
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
