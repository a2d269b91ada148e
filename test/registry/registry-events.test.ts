import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { type TestContext, test } from 'node:test';
import type { RollEvent } from '../../src/record/events.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { type EventBatch, FutureRevisionError, SlowReaderError } from '../../src/registry/event-source.ts';
import { createRegistry, type RegistryOptions } from '../../src/registry/registry.ts';
import { StoreError } from '../../src/store/store-errors.ts';
import { applyEvent } from '../support/apply-event.ts';
import { fakeStore } from '../support/fake-store.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const NEVER = new AbortController().signal;
const PRESENCE = { session: 'session-a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };

function node(n: number, presence: RollEntry['presence'] = PRESENCE): RollEntry {
  return { record: sampleRecord({ ec2InstanceId: sampleInstanceId(n) }), presence };
}

function nodes(count: number, presence: RollEntry['presence'] = PRESENCE): readonly RollEntry[] {
  return Array.from({ length: count }, (_, n) => node(n, presence));
}

function setUp(t: TestContext, options: Partial<RegistryOptions> = {}) {
  const store = fakeStore();
  const clock = simulatedClock();
  const registry = createRegistry({ store, clock, random: () => 0.5, idleMs: 60_000, massLoss: null, ...options });
  t.after(() => registry.close());
  return { store, clock, registry, read: (since: string | null = null) => reader(registry, since) };
}

/** A consumer that reads as fast as it can. */
function reader(registry: ReturnType<typeof createRegistry>, since: string | null) {
  const controller = new AbortController();
  const batches: EventBatch[] = [];
  let roll: Map<string, RollEntry> = new Map();
  const run = async () => {
    for await (const batch of await registry.events({ since, signal: controller.signal })) {
      batches.push(batch);
      roll = batch.events.reduce(applyEvent, roll);
    }
    return 'ended';
  };
  const ended = run().catch((error: unknown) => error);
  return {
    batches,
    ended,
    /** Forgets what came so far, and answers it in short. */
    take: () => batches.splice(0).map(({ events, cursor }) => [events.map(brief).join(' '), cursor] as const),
    roll: () => [...roll.values()],
    stop: () => {
      controller.abort(new Error('the consumer left'));
      return ended;
    },
  };
}

function brief(event: RollEvent): string {
  if (!('instanceId' in event)) return event.kind;
  return `${event.snapshot ? '=' : ''}${event.kind}:${Number.parseInt(event.instanceId.slice(2), 16)}`;
}

test('without a revision a reader gets the roll, a synced, and then the changes', async (t) => {
  const { store, clock, read } = setUp(t);
  store.commit([node(1), node(2, null)]);
  const consumer = read();
  await clock.advance(0);
  store.commit([node(3)], [sampleInstanceId(2)]);
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [
    ['=registered:1 =lost:2', null],
    ['synced', '2'],
    ['forgotten:2 registered:3', '3'],
  ]);
});

test('a large roll comes in pieces, and only its synced has a cursor', async (t) => {
  const { store, clock, read } = setUp(t);
  store.commit(nodes(200));
  const consumer = read();
  await clock.advance(0);
  assert.deepEqual(
    consumer.batches.map(({ events, cursor }) => [events.length, cursor]),
    [
      [64, null],
      [64, null],
      [64, null],
      [8, null],
      [1, '2'],
    ],
  );
});

test('readers that start at about the same time share one snapshot, and a later one gets its own', async (t) => {
  const { store, clock, read } = setUp(t);
  store.commit(nodes(3));
  const first = read();
  await clock.advance(0);
  store.commit([node(9)]);
  await clock.advance(0);
  const second = read();
  await clock.advance(0);
  assert.equal(first.batches[0]?.events[0], second.batches[0]?.events[0], 'so that their text is made once');
  assert.deepEqual(second.roll(), first.roll());
  assert.deepEqual(second.take(), first.take());
  await clock.advance(2_000);
  const current = read();
  await clock.advance(0);
  assert.deepEqual(current.take(), [
    ['=registered:0 =registered:1 =registered:2 =registered:9', null],
    ['synced', '3'],
  ]);
  await clock.advance(2_000);
  const unchanged = read();
  await clock.advance(0);
  assert.deepEqual(unchanged.take().at(-1), ['synced', '3'], 'one without changes since is shared, however old');
  for (let n = 10; n < 80; n += 1) store.commit([node(n)]);
  await clock.advance(0);
  const late = read();
  await clock.advance(0);
  assert.equal(late.batches[0]?.events.length, 64);
  assert.deepEqual(late.roll(), first.roll());
});

test('all readers share one snapshot and one watch, and the watch runs while there is a reader', async (t) => {
  const { store, clock, registry, read } = setUp(t);
  const consumers = Array.from({ length: 100 }, () => read());
  await clock.advance(0);
  assert.equal(registry.status().eventReaders, 100);
  for (const consumer of consumers.slice(1)) await consumer.stop();
  for (let passedMs = 0; passedMs < 600_000; passedMs += 5_000) {
    await clock.advance(5_000);
    store.confirm();
  }
  store.commit([node(1)]);
  await clock.advance(0);
  assert.deepEqual(consumers[0]?.take().at(-1), ['registered:1', '2']);
  assert.deepEqual([store.calls.read, store.watchers(), registry.status().eventReaders], [1, 1, 1]);
  assert.match(String(await consumers[0]?.stop()), /the consumer left/);
  await clock.advance(20_000);
  store.confirm();
  await clock.advance(20_000);
  store.confirm();
  await clock.advance(20_000);
  assert.deepEqual([store.watchers(), registry.status().watching, registry.status().eventReaders], [0, false, 0]);
});

test('a reader whose revision is in the log gets the events after it, and no snapshot', async (t) => {
  const { store, clock, registry, read } = setUp(t);
  read();
  await clock.advance(0);
  for (const n of [1, 2, 3]) store.commit([node(n)]);
  await clock.advance(0);
  const consumer = read('2');
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [
    ['registered:2', '3'],
    ['registered:3', '4'],
  ]);
  assert.equal(registry.status().catchUps, 0);
});

test('a reader with an older revision gets exactly the events since, and fifty readers hardly cost more requests', async (t) => {
  const { store, clock, registry, read } = setUp(t);
  store.commit([node(1), node(2)]);
  store.commit([node(1, null)]);
  store.commit([node(1), node(3)], [sampleInstanceId(2)]);
  const consumers = Array.from({ length: 50 }, (_, n) => read(n % 2 ? '3' : '2'));
  await clock.advance(0);
  store.commit([node(4)]);
  await clock.advance(0);
  assert.deepEqual(consumers[0]?.take(), [
    ['lost:1', '3'],
    ['recovered:1 forgotten:2 registered:3', '4'],
    ['', '4'],
    ['registered:4', '5'],
  ]);
  assert.deepEqual(consumers[1]?.take(), [
    ['recovered:1 forgotten:2 registered:3', '4'],
    ['', '4'],
    ['registered:4', '5'],
  ]);
  assert.deepEqual(
    consumers.slice(2).map(({ batches }) => batches.length),
    consumers.slice(2).map((_, n) => (n % 2 ? 3 : 4)),
  );
  assert.ok(registry.status().catchUps <= 3, `${registry.status().catchUps} catch-ups`);
  assert.equal(store.watchers(), 1);
});

test('a change during a replay is neither missed nor sent twice', async (t) => {
  const { store, clock, read } = setUp(t);
  store.commit([node(1)]);
  store.commit([node(2)]);
  await clock.advance(0);
  const watch = store.watch.bind(store);
  const slow = Promise.withResolvers<void>();
  const first = read();
  await clock.advance(0);
  store.watch = async function* (revision, signal) {
    await slow.promise;
    yield* watch(revision, signal);
  };
  const consumer = read('2');
  await clock.advance(0);
  store.commit([node(3)]);
  await clock.advance(0);
  slow.resolve();
  store.commit([node(4)]);
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [
    ['registered:2', '3'],
    ['', '3'],
    ['registered:3', '4'],
    ['registered:4', '5'],
  ]);
  assert.deepEqual(first.take().at(-1), ['registered:4', '5']);
});

test('a change after the roll that a replay leads to is not part of the replay', async (t) => {
  const { store, clock, read } = setUp(t);
  store.commit([node(1)]);
  store.commit([node(2)]);
  store.foreign();
  const watch = store.watch.bind(store);
  const slow = Promise.withResolvers<void>();
  read();
  await clock.advance(0);
  store.watch = async function* (revision, signal) {
    await slow.promise;
    yield* watch(revision, signal);
  };
  const consumer = read('2');
  await clock.advance(0);
  store.commit([node(3)]);
  slow.resolve();
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [
    ['registered:2', '3'],
    ['', '4'],
    ['registered:3', '5'],
  ]);
});

test('a revision whose later changes are compacted gets a snapshot', async (t) => {
  const { store, clock, read } = setUp(t);
  store.commit([node(1)]);
  store.commit([node(2)]);
  store.compact();
  const consumer = read('2');
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [
    ['=registered:1 =registered:2', null],
    ['synced', '4'],
  ]);
});

test('a past of more than 20,000 changes, or one that takes more than 10 s, is replaced by a snapshot', async (t) => {
  const { store, clock, read } = setUp(t);
  for (let round = 0; round < 11; round += 1) store.commit(nodes(1_000, round % 2 ? null : PRESENCE));
  const consumer = read('1');
  await clock.advance(0);
  assert.deepEqual(consumer.take().at(-1), ['synced', '12']);

  store.watch = async function* () {
    await new Promise(() => {});
  };
  const patient = read('11');
  await clock.advance(9_999);
  assert.deepEqual(patient.take(), []);
  await clock.advance(1);
  assert.deepEqual(patient.take().at(-1), ['synced', '12']);
});

test('a past with only foreign writes ends with the store’s confirmation', async (t) => {
  const { store, clock, read } = setUp(t);
  store.commit([node(1)]);
  store.foreign();
  const consumer = read('2');
  await clock.advance(0);
  store.confirm();
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['', '3']]);
  store.commit([node(2)]);
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['registered:2', '4']]);
});

test('a revision that the store has not reached is refused; one that only this process has not seen is accepted', async (t) => {
  const { store, clock, registry, read } = setUp(t);
  store.commit([node(1)]);
  await registry.read(NEVER);
  await assert.rejects(registry.events({ since: '3', signal: NEVER }), (error) => {
    assert.ok(error instanceof FutureRevisionError);
    assert.deepEqual([error.since, error.current], ['3', '2']);
    return true;
  });
  assert.equal(registry.status().eventReaders, 0);
  store.foreign();
  const consumer = read('3');
  await clock.advance(0);
  store.commit([node(2)]);
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['registered:2', '4']]);
});

test('a cut watch resumes without the readers noticing', async (t) => {
  const { store, clock, read } = setUp(t);
  const consumer = read();
  await clock.advance(0);
  store.cutWatches();
  store.commit([node(1)]);
  await clock.advance(5_000);
  assert.deepEqual(consumer.take(), [
    ['synced', '1'],
    ['registered:1', '2'],
  ]);
});

test('after a compaction, and when revisions go back, every reader gets a new snapshot and synced', async (t) => {
  const { store, clock, registry, read } = setUp(t);
  store.commit([node(1), node(2)]);
  const consumers = [read(), read('2')];
  await clock.advance(0);
  store.cutWatches();
  store.commit([node(3)], [sampleInstanceId(1)]);
  store.compact();
  await clock.advance(5_000);
  for (const consumer of consumers) {
    assert.deepEqual(consumer.take().slice(-2), [
      ['=registered:2 =registered:3', null],
      ['synced', '4'],
    ]);
  }
  assert.deepEqual(consumers[0]?.roll(), [node(2), node(3)]);
  store.restore(2);
  await clock.advance(5_000);
  assert.deepEqual(consumers[0]?.take(), [['synced', '2']]);
  assert.deepEqual(consumers[0]?.roll(), []);
  store.commit([node(4)]);
  await clock.advance(0);
  assert.deepEqual(consumers[0]?.take(), [['registered:4', '3']]);
  assert.equal(registry.status().snapshots, 3);
});

test('a record that becomes unreadable gives a `forgotten`', async (t) => {
  const { store, clock, read } = setUp(t);
  store.commit([node(1)]);
  const consumer = read();
  await clock.advance(0);
  const instanceId = sampleInstanceId(1);
  const skipped = { key: `v1/records/${instanceId}`, reason: 'not JSON' };
  store.emit([
    { kind: 'record', instanceId, record: null, previous: node(1).record },
    { kind: 'skipped', skipped },
  ]);
  await clock.advance(0);
  assert.deepEqual(consumer.take().at(-1), ['forgotten:1', '3']);
});

test('a reader that falls behind in a snapshot gets the whole of it, with a cursor, and is cut off then', async (t) => {
  const { store, clock, registry, read } = setUp(t);
  store.commit(nodes(200));
  const slow = (await registry.events({ since: null, signal: NEVER }))[Symbol.asyncIterator]();
  await slow.next();
  const quick = read();
  await clock.advance(0);
  for (let round = 0; round < 5_000; round += 1) store.commit([node(1, round % 2 ? PRESENCE : null)]);
  await clock.advance(0);
  // Otherwise a reader that is slower than the fleet would begin with a snapshot for ever.
  let last: EventBatch | undefined;
  await assert.rejects(async () => {
    for (let next = await slow.next(); !next.done; next = await slow.next()) last = next.value;
  }, SlowReaderError);
  assert.deepEqual([last?.events.at(-1)?.kind, last?.cursor], ['synced', '2']);
  assert.deepEqual(quick.take().at(-1), ['recovered:1', '5002']);
  assert.deepEqual([registry.status().slowReaders, registry.status().eventReaders], [1, 1]);
});

test('in an outage a reader waits for the first snapshot, but only for a limited time', async (t) => {
  const { store, clock, registry, read } = setUp(t);
  store.mode = 'down';
  const reading = assert.rejects(registry.events({ since: null, signal: NEVER }), StoreError);
  await clock.advance(200);
  await reading;
  store.mode = 'up';
  await clock.advance(5_000);
  const consumer = read();
  await clock.advance(0);
  assert.deepEqual(consumer.take(), [['synced', '1']]);
});

test('after an idle time a reader gets a snapshot without events from before it', async (t) => {
  const { store, clock, registry, read } = setUp(t, { idleMs: 1_000 });
  store.commit([node(1)]);
  await registry.read(NEVER);
  await clock.advance(2_000);
  assert.equal(registry.status().watching, false);
  store.commit([node(2)], [sampleInstanceId(1)]);
  const consumers = [read(), read('2')];
  await clock.advance(0);
  assert.deepEqual(consumers[0]?.take(), [
    ['=registered:2', null],
    ['synced', '3'],
  ]);
  assert.deepEqual(consumers[1]?.take()[0], ['forgotten:1 registered:2', '3']);
});

test('close ends the readers, and leaves nothing running', async (t) => {
  const { clock, registry, read } = setUp(t);
  const consumer = read();
  await clock.advance(0);
  await registry.close();
  assert.equal(await consumer.ended, 'ended');
  await clock.advance(0);
  assert.equal(clock.sleepers(), 0);
  await assert.rejects(registry.events({ since: null, signal: NEVER }), /this process is stopping/);
});

test('the store’s id is read once for all readers, again after a failure, and not for a reader that left', async (t) => {
  const { registry, store } = setUp(t);
  const { id } = store;
  let asked = 0;
  store.id = (signal) => {
    asked += 1;
    return id(signal);
  };
  store.mode = 'down';
  await assert.rejects(registry.storeId(NEVER), /connection refused/);
  store.mode = 'up';
  const left = new AbortController();
  const leaving = assert.rejects(registry.storeId(left.signal), /left/);
  const others = [registry.storeId(NEVER), registry.storeId(NEVER)];
  left.abort(new Error('left'));
  await leaving;
  assert.deepEqual(await Promise.all(others), ['fake:', 'fake:']);
  store.mode = 'down';
  assert.equal(await registry.storeId(NEVER), 'fake:');
  assert.equal(asked, 2);
});

test('each progress of the watch is a step: its start, a snapshot, a batch and a failure', async (t) => {
  let steps = 0;
  const { store, clock, registry } = setUp(t, { onStep: () => (steps += 1) });
  await registry.read(NEVER);
  await clock.advance(0);
  assert.equal(steps, 2);
  store.confirm();
  await clock.advance(0);
  assert.equal(steps, 3);
  store.cutWatches();
  await clock.advance(0);
  assert.equal(steps, 4);
});

test('a consumer that leaves, or is cut off, does not stay on a signal that lives longer', async (t) => {
  const { store, clock, registry } = setUp(t);
  store.commit([node(1)]);
  const { signal } = new AbortController();
  for await (const batch of await registry.events({ since: null, signal })) {
    if (batch.events.some((event) => event.kind === 'synced')) {
      // It waits for the next one, and so follows the signal.
      setImmediate(() => {
        store.commit([node(2)]);
        void clock.advance(0);
      });
    } else if (batch.events.some((event) => 'instanceId' in event && !event.snapshot)) break;
  }
  assert.deepEqual(getEventListeners(signal, 'abort'), []);
});
