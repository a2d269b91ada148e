import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RollEntry } from '../../src/record/roll.ts';
import { createEventLog } from '../../src/registry/event-log.ts';
import { SlowReaderError } from '../../src/registry/event-source.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { sampleRecord } from '../support/sample-record.ts';
import { nodes, reader, setUp } from './losses-setup.ts';

/** The node as it is after its nth change: of such events 32 MiB have 273. */
function large(n: number): RollEntry {
  const [node] = nodes(0, 1);
  assert.ok(node);
  return { ...node, record: sampleRecord({ ...node.record, labels: { text: String(n).padStart(60_000, 'x') } }) };
}

test('the log keeps fewer events of large records, and cuts off a reader that is behind them', async () => {
  const log = createEventLog({ wallMs: () => 0 });
  log.restart('10');
  const slow = log.readAfter('10');
  let before = large(10);
  for (let revision = 11; revision <= 311; revision += 1) {
    const after = large(revision);
    const { ec2InstanceId: instanceId } = after.record;
    const about = { revision: String(revision), instanceId, before, after, snapshot: false };
    log.append([{ revision: String(revision), events: [{ kind: 'updated', ...about }] }]);
    before = after;
  }
  assert.throws(() => slow?.take(), SlowReaderError);
  assert.equal(log.readAfter('30'), null);
  assert.notEqual(log.readAfter('60'), null);
});

for (const [changes, what] of [
  [100, 'updated'],
  [400, 'updated'],
  [600, 'registered'],
] as const) {
  test(`a reader with ${changes} changes of 60 kB behind it begins with ${what}`, async (t) => {
    const { store, clock } = await setUp(t);
    for (let n = 0; n < changes; n += 1) store.commit([large(n)]);
    const registry = createRegistry({ store, clock, random: () => 0.5 });
    t.after(() => registry.close());
    const resumed = reader(registry, '2');
    await clock.advance(0);
    assert.equal(registry.status().catchUps, 1);
    assert.match(resumed.take()[0]?.[0] ?? '', new RegExp(`^${what}`));
    assert.deepEqual(resumed.roll().get(large(0).record.ec2InstanceId), large(changes - 1));
  });
}

test('of a reader’s past what the changes of many nodes replaced counts, too', async (t) => {
  const { store, clock } = await setUp(t);
  const many = (text: string) =>
    nodes(0, 300).map((node) => ({ ...node, record: { ...node.record, labels: { text: text.repeat(60_000) } } }));
  store.commit(many('x'));
  store.commit(many('y'));
  const registry = createRegistry({ store, clock, random: () => 0.5 });
  t.after(() => registry.close());
  const resumed = reader(registry, '3');
  await clock.advance(0);
  assert.equal(registry.status().catchUps, 1);
  assert.match(resumed.take()[0]?.[0] ?? '', /^registered/);
});

test('a loss does not wait for its verdict while more than 32 MiB of changes wait behind it', async (t) => {
  const { store, clock, consumer } = await setUp(t);
  store.overdue = () => new Promise(() => {});
  store.commit(nodes(3, 4, null));
  for (let n = 0; n < 200; n += 1) store.commit([large(n)]);
  await clock.advance(0);
  assert.deepEqual(consumer.take(), []);
  for (let n = 200; n < 300; n += 1) store.commit([large(n)]);
  await clock.advance(0);
  assert.deepEqual(consumer.take()[0], ['lost', '3']);
});

test('what waited before a watch broke does not count after its new snapshot', async (t) => {
  const { store, clock, consumer } = await setUp(t);
  const labels = { text: 'x'.repeat(60_000) };
  const many = nodes(0, 200).map((node) => ({ ...node, record: { ...node.record, labels } }));
  store.commit([...many, ...nodes(200, 2_000)]);
  await clock.advance(0);
  consumer.take();
  const answer = Promise.withResolvers<{ asked: number; overdue: number }>();
  store.overdue = () => answer.promise;
  store.commit(many.map((node) => ({ ...node, presence: null })));
  await clock.advance(100);
  store.compact();
  await clock.advance(300);
  answer.resolve({ asked: 32, overdue: 0 });
  await clock.advance(0);
  const kinds = consumer.take().map(([events]) => events);
  assert.doesNotMatch(kinds.join(' '), /uncertain/);
});
