import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { describeError } from '../../src/lib/errors.ts';
import { createRegistry, type RegistryOptions } from '../../src/registry/registry.ts';
import { StoreError } from '../../src/store/store-errors.ts';
import { fakeStore } from '../support/fake-store.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const NEVER = new AbortController().signal;
const PRESENCE = { session: 'session-a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };

function node(n: number) {
  return { record: sampleRecord({ ec2InstanceId: sampleInstanceId(n) }), presence: PRESENCE };
}

function setUp(t: TestContext, options: Partial<RegistryOptions> = {}) {
  const store = fakeStore();
  const clock = simulatedClock();
  const registry = createRegistry({ store, clock, random: () => 0.5, idleMs: 60_000, ...options });
  t.after(() => registry.close());
  const ids = async () => (await registry.read(NEVER)).roll.entries.map((entry) => entry.record.ec2InstanceId);
  /** Time passes in a healthy store: it confirms every 5 s. */
  const passHealthy = async (ms: number) => {
    for (let leftMs = ms; leftMs > 0; leftMs -= 5_000) {
      await clock.advance(Math.min(leftMs, 5_000));
      store.confirm();
      await clock.advance(0);
    }
  };
  return { store, clock, registry, ids, passHealthy };
}

test('the store gets no call before the first reader', async (t) => {
  const { store, clock, registry } = setUp(t);
  await clock.advance(3_600_000);
  registry.status();
  assert.deepEqual(store.calls, { read: 0, watch: 0 });
  assert.equal(registry.status().watching, false);
});

test('concurrent first readers share one snapshot and one watch', async (t) => {
  const { store, clock, ids } = setUp(t);
  store.commit([node(1), node(2)]);
  const answers = await Promise.all([ids(), ids(), ids()]);
  for (const answer of answers) assert.deepEqual(answer, [sampleInstanceId(1), sampleInstanceId(2)]);
  await clock.advance(0);
  assert.deepEqual(store.calls, { read: 1, watch: 1 });
});

test('later readers get the watched roll without another call', async (t) => {
  const { store, clock, ids, registry } = setUp(t);
  store.commit([node(1)]);
  await ids();
  store.commit([node(2)], [sampleInstanceId(1)]);
  await clock.advance(0);
  assert.deepEqual(await ids(), [sampleInstanceId(2)]);
  const { ageMs, stale, roll } = await registry.read(NEVER);
  assert.deepEqual({ ageMs, stale, revision: roll.revision }, { ageMs: 0, stale: false, revision: '3' });
  assert.deepEqual(store.calls, { read: 1, watch: 1 });
});

test('the watch ends when there was no read for the idle time, and the next reader gets a new snapshot', async (t) => {
  const { store, clock, registry, ids, passHealthy } = setUp(t);
  await ids();
  await passHealthy(50_000);
  await ids();
  await passHealthy(55_000);
  assert.equal(store.watchers(), 1);
  await passHealthy(5_000);
  assert.equal(store.watchers(), 0);
  assert.equal(registry.status().watching, false);
  assert.equal(clock.sleepers(), 0);
  store.commit([node(9)]);
  await clock.advance(600_000);
  assert.deepEqual(store.calls, { read: 1, watch: 1 });
  assert.deepEqual(await ids(), [sampleInstanceId(9)]);
  assert.equal(registry.status().snapshots, 2);
});

test('a watch that is cut resumes by revision: nothing is missed, and no snapshot is read', async (t) => {
  const { store, clock, registry, ids } = setUp(t);
  await ids();
  store.cutWatches();
  store.commit([node(1)]);
  await clock.advance(0);
  assert.equal((await registry.read(NEVER)).stale, true);
  await clock.advance(200);
  assert.deepEqual(await ids(), [sampleInstanceId(1)]);
  assert.equal((await registry.read(NEVER)).stale, false);
  assert.deepEqual(store.calls, { read: 1, watch: 2 });
  assert.equal(registry.status().watchRestarts, 1);
});

test('after a compaction there is a new snapshot', async (t) => {
  const { store, clock, registry, ids } = setUp(t);
  store.commit([node(1)]);
  await ids();
  store.cutWatches();
  store.commit([node(2)], [sampleInstanceId(1)]);
  store.compact();
  await clock.advance(1_000);
  assert.deepEqual(await ids(), [sampleInstanceId(2)]);
  assert.equal((await registry.read(NEVER)).stale, false);
  assert.equal(registry.status().snapshots, 2);
});

test('a store whose revisions went back is read again', async (t) => {
  const { store, clock, ids } = setUp(t);
  store.commit([node(1)]);
  await ids();
  store.restore(1);
  await clock.advance(1_000);
  assert.deepEqual(await ids(), []);
});

test('a node whose presence the snapshot could not show is not lost when its record becomes readable', async (t) => {
  const { store, clock, registry, ids } = setUp(t);
  store.skipped = [{ key: `v1/presence/${sampleInstanceId(1)}`, reason: 'presence without a record' }];
  await ids();
  store.skipped = [];
  store.commit([node(1)]);
  store.emit([]);
  await clock.advance(1_000);
  assert.equal((await registry.read(NEVER)).roll.entries[0]?.presence?.session, 'session-a');
});

test('in an outage the answer is the last known roll, at once, stale, with a growing age', async (t) => {
  const { store, clock, registry, ids } = setUp(t);
  store.commit([node(1)]);
  await ids();
  store.mode = 'down';
  await clock.advance(7_000);
  const first = await registry.read(NEVER);
  assert.deepEqual([first.roll.entries.length, first.stale, first.ageMs], [1, true, 7_000]);
  await clock.advance(20_000);
  const second = await registry.read(NEVER);
  assert.deepEqual([second.roll.entries.length, second.stale, second.ageMs], [1, true, 27_000]);
  assert.equal(registry.status().lastError, 'fake:: connection refused');
  store.mode = 'up';
  store.commit([node(2)]);
  await clock.advance(5_000);
  store.confirm();
  await clock.advance(0);
  const third = await registry.read(NEVER);
  assert.deepEqual([third.roll.entries.length, third.stale], [2, false]);
  assert.equal(registry.status().lastError, null);
});

test('in an outage the store is asked with growing, bounded pauses', async (t) => {
  const { store, clock, ids } = setUp(t, { idleMs: 3_600_000 });
  await ids();
  store.mode = 'down';
  await clock.advance(600_000);
  assert.ok(store.calls.watch >= 600_000 / 5_000, `${store.calls.watch} watches`);
  assert.ok(store.calls.watch < 600_000 / 2_000, `${store.calls.watch} watches`);
});

test('in an outage that began while idle the answer is the roll from before it, after the read limit at most', async (t) => {
  const { store, clock, registry, ids, passHealthy } = setUp(t);
  store.commit([node(1)]);
  await ids();
  await passHealthy(120_000);
  store.mode = 'hung';
  const reading = registry.read(NEVER);
  await clock.advance(2_999);
  await clock.advance(1);
  const { roll, stale, ageMs } = await reading;
  assert.deepEqual([roll.entries.length, stale], [1, true]);
  // The last proof was the last batch before the watch was dropped, 60 s into the idle time.
  assert.ok(ageMs >= 63_000 && ageMs <= 73_000, `${ageMs} ms`);
  const beforeMs = clock.monotonicMs();
  assert.equal((await registry.read(NEVER)).stale, true);
  assert.equal(clock.monotonicMs(), beforeMs);
});

test('without any known roll a read rejects with the cause, and recovers with the store', async (t) => {
  const { store, clock, registry, ids } = setUp(t);
  store.mode = 'down';
  const reading = assert.rejects(registry.read(NEVER), (error) => {
    assert.ok(error instanceof StoreError);
    assert.equal(describeError(error), 'the roll is not known: fake:: connection refused');
    return true;
  });
  await clock.advance(200);
  await reading;
  assert.equal(store.calls.read, 2);
  store.mode = 'up';
  await clock.advance(5_000);
  assert.deepEqual(await ids(), []);
});

test('a first read of the store that fails and may be repeated is repeated before a reader hears of it', async (t) => {
  const { store, clock, ids } = setUp(t);
  store.commit([node(1)]);
  store.mode = 'down';
  const reading = ids();
  await clock.advance(0);
  store.mode = 'up';
  await clock.advance(200);
  assert.deepEqual(await reading, [sampleInstanceId(1)]);
});

test('a read that is refused for good is not waited for', async (t) => {
  const { store, registry } = setUp(t);
  store.read = () => Promise.reject(new StoreError('wrong password', { retryable: false }));
  await assert.rejects(registry.read(NEVER), /the roll is not known/);
});

test('without any known roll a read of a hung store rejects at the read limit', async (t) => {
  const { store, clock, registry } = setUp(t);
  store.mode = 'hung';
  const reading = assert.rejects(registry.read(NEVER), (error) => {
    assert.equal(describeError(error), 'the roll is not known: read the roll from fake:: no answer within 3000 ms');
    return true;
  });
  await clock.advance(3_000);
  await reading;
});

test('a snapshot slower than the read limit still serves the next reader', async (t) => {
  const { store, clock, registry } = setUp(t);
  const slow = Promise.withResolvers<void>();
  const read = store.read.bind(store);
  store.read = async (signal) => {
    await slow.promise;
    return read(signal);
  };
  const first = assert.rejects(registry.read(NEVER));
  await clock.advance(6_000);
  await first;
  slow.resolve();
  await clock.advance(0);
  const { stale, ageMs } = await registry.read(NEVER);
  // Its age counts from when it was asked for: it may be that old.
  assert.deepEqual([stale, ageMs], [false, 6_000]);
});

test('a roll without a confirmation for more than 15 s is stale although its watch looks alive', async (t) => {
  const { store, clock, registry, ids } = setUp(t);
  await ids();
  await clock.advance(15_000);
  assert.equal((await registry.read(NEVER)).stale, false);
  await clock.advance(1);
  assert.deepEqual((await registry.read(NEVER)).stale, true);
  store.confirm();
  await clock.advance(0);
  const { stale, ageMs } = await registry.read(NEVER);
  assert.deepEqual([stale, ageMs], [false, 0]);
});

test('changes do not make a roll younger: a member that lags sends them late', async (t) => {
  const { store, clock, registry, ids } = setUp(t);
  await ids();
  await clock.advance(9_000);
  store.commit([node(2)]);
  await clock.advance(0);
  const changed = await registry.read(NEVER);
  assert.deepEqual([changed.roll.entries.length, changed.ageMs], [1, 9_000]);
  store.confirm(4_000);
  await clock.advance(0);
  assert.equal((await registry.read(NEVER)).ageMs, 4_000);
});

test('a watch that went silent is started again', async (t) => {
  const { store, clock, registry, ids } = setUp(t);
  await ids();
  store.mode = 'hung';
  await clock.advance(1_000);
  store.mode = 'up';
  store.commit([node(1)]);
  await clock.advance(31_000);
  assert.deepEqual(await ids(), [sampleInstanceId(1)]);
  assert.deepEqual([store.calls.watch, registry.status().watchRestarts], [2, 1]);
});

test('a watch that is given up ends and does not stay beside its successor', async (t) => {
  const { store, clock, ids } = setUp(t);
  await ids();
  await clock.advance(30_000);
  await clock.advance(1_000);
  assert.deepEqual([store.calls.watch, store.watchers()], [2, 1]);
});

test('a reader that aborts is released at once, the others wait on', async (t) => {
  const { store, clock, registry } = setUp(t);
  store.mode = 'hung';
  const gone = new AbortController();
  const left = registry.read(gone.signal);
  const stays = assert.rejects(registry.read(NEVER), StoreError);
  gone.abort(new Error('client left'));
  await assert.rejects(left, /client left/);
  await clock.advance(3_000);
  await stays;
});

test('close ends the watch, every timer and the waiting readers', async (t) => {
  const { store, clock, registry } = setUp(t);
  await registry.read(NEVER);
  await clock.advance(0);
  await registry.close();
  await clock.advance(0);
  assert.deepEqual([store.watchers(), clock.sleepers()], [0, 0]);
  await assert.rejects(registry.read(NEVER), /this process is stopping/);

  const other = setUp(t);
  other.store.mode = 'hung';
  const waiting = assert.rejects(other.registry.read(NEVER), /this process is stopping/);
  await other.clock.advance(0);
  await other.registry.close();
  await waiting;
  assert.equal(other.clock.sleepers(), 0);
});

test('status counts the nodes of the view', async (t) => {
  const { store, clock, registry, ids } = setUp(t);
  assert.equal(registry.status().nodes, null);
  store.commit([node(1), { ...node(2), presence: null }]);
  await ids();
  await clock.advance(2_000);
  const { nodes, ageMs } = registry.status();
  assert.deepEqual({ nodes, ageMs }, { nodes: { present: 1, departed: 0, lost: 1 }, ageMs: 2_000 });
});
