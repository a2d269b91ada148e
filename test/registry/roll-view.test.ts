import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Presence } from '../../src/record/record.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { createView } from '../../src/registry/roll-view.ts';
import { collectRoll, WHOLE } from '../../src/store/read-roll.ts';
import { describeUnread } from '../../src/store/unreadable-nodes.ts';
import { startMachineTimer } from '../support/machine-time.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

const PRESENCE: Presence = { session: 'session-a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };

function entry(n: number, presence: Presence | null = PRESENCE): RollEntry {
  return { record: sampleRecord({ ec2InstanceId: sampleInstanceId(n) }), presence };
}

function empty(revision = '1') {
  return { revision, entries: [], skipped: [] };
}

function recordChange(n: number) {
  const { record } = entry(n);
  return { kind: 'record', instanceId: record.ec2InstanceId, record, previous: null } as const;
}

test('a registration in one batch adds one entry, in the order of ids', () => {
  const view = createView({ revision: '1', entries: [entry(5)], skipped: [] });
  const instanceId = sampleInstanceId(2);
  const fits = view.apply({
    revision: '7',
    changes: [recordChange(2), { kind: 'presence', instanceId, presence: PRESENCE, previous: null }],
  });
  assert.deepEqual(fits, [{ instanceId, before: null, after: entry(2) }]);
  assert.equal(view.roll().revision, '7');
  assert.deepEqual(view.roll().entries, [entry(2), entry(5)]);
});

test('a returned roll does not change with later batches', () => {
  const view = createView({ revision: '1', entries: [entry(1)], skipped: [] });
  const before = view.roll();
  view.apply({ revision: '2', changes: [{ ...presenceGone(1) }] });
  assert.deepEqual(before, { revision: '1', entries: [entry(1)], skipped: [] });
  assert.deepEqual(view.roll().entries, [entry(1, null)]);
});

test('a node without its presence is lost, and forgotten without its record', () => {
  const view = createView({ revision: '1', entries: [entry(1)], skipped: [] });
  view.apply({ revision: '2', changes: [presenceGone(1)] });
  assert.deepEqual(view.count(), { present: 0, departed: 0, lost: 1 });
  view.apply({
    revision: '3',
    changes: [{ kind: 'record', instanceId: sampleInstanceId(1), record: null, previous: entry(1).record }],
  });
  assert.deepEqual(view.count(), { present: 0, departed: 0, lost: 0 });
  assert.deepEqual(view.roll(), empty('3'));
});

test('a record that is deleted while its presence exists is named as skipped, and is present when it comes back', () => {
  const view = createView({ revision: '1', entries: [entry(1)], skipped: [] });
  const instanceId = sampleInstanceId(1);
  view.apply({ revision: '2', changes: [{ kind: 'record', instanceId, record: null, previous: null }] });
  assert.deepEqual(view.roll().skipped, [{ key: `v1/presence/${instanceId}`, reason: 'a presence without a record' }]);
  assert.deepEqual(view.apply({ revision: '3', changes: [recordChange(1)] })?.length, 1);
  assert.deepEqual(view.roll(), { revision: '3', entries: [entry(1)], skipped: [] });
});

test('a record that becomes readable after the snapshot skipped its presence needs a new snapshot and is not lost', () => {
  const skipped = [{ key: `v1/presence/${sampleInstanceId(1)}`, reason: 'presence without a record' }];
  const view = createView({ revision: '1', entries: [], skipped });
  assert.equal(view.apply({ revision: '2', changes: [recordChange(1)] }), null);
  assert.deepEqual(view.roll(), { revision: '1', entries: [], skipped });
});

test('a skipped key is named until its record can be read, and any number of foreign keys is bounded', () => {
  const view = createView(empty());
  const key = `v1/records/${sampleInstanceId(1)}`;
  view.apply({ revision: '2', changes: [{ kind: 'skipped', skipped: { key, reason: 'not JSON' } }] });
  assert.deepEqual(view.roll().skipped, [{ key, reason: 'not JSON' }]);
  const instanceId = sampleInstanceId(1);
  const presence = { kind: 'presence', instanceId, presence: PRESENCE, previous: null } as const;
  view.apply({ revision: '3', changes: [recordChange(1), presence] });
  assert.deepEqual(view.roll().skipped, []);
  for (let n = 0; n < 1_000; n += 1) {
    const junk = { key: `junk/${n}`, reason: 'foreign' };
    view.apply({ revision: String(n + 4), changes: [{ kind: 'skipped', skipped: junk }] });
  }
  const { skipped } = view.roll();
  assert.equal(skipped.length, 101);
  assert.match(describeUnread(skipped, key) ?? '', /may be among those that cannot be read: more keys/);
  for (let n = 0; n < 51; n += 1) {
    assert.equal(view.isVague(), false);
    view.apply({ revision: String(n + 2_000), changes: [{ kind: 'unskipped', key: `junk/${n}` }] });
  }
  assert.equal(view.isVague(), true);
});

test('a new snapshot is never asked for at once, also where all keys that it cannot read have one name', () => {
  const roll = collectRoll(WHOLE);
  roll.add(Array.from({ length: 101 }, (_, n) => ({ key: `v1/${'k'.repeat(400)}${n}`, value: '', modRevision: '1' })));
  const view = createView(roll.finish('7'));
  const [one, ...rest] = view.roll().skipped;
  assert.equal(rest.length, 1);
  assert.equal(view.isVague(), false);
  // What came later does not count: it was not in the snapshot.
  for (let n = 0; n < 10; n += 1) {
    const skipped = { key: `v1/later ${n}`, reason: 'foreign' };
    view.apply({ revision: String(n + 8), changes: [{ kind: 'skipped', skipped }] });
  }
  assert.equal(view.isVague(), false);
  view.apply({ revision: '18', changes: [{ kind: 'unskipped', key: one?.key ?? '' }] });
  assert.equal(view.isVague(), true);
});

test('of any number of presences without a record some are named, and a line stands for the rest', () => {
  const view = createView({ ...empty(), entries: Array.from({ length: 102 }, (_, n) => entry(n)) });
  for (let n = 0; n < 102; n += 1) {
    const instanceId = sampleInstanceId(n);
    view.apply({ revision: String(n + 2), changes: [{ kind: 'record', instanceId, record: null, previous: null }] });
  }
  const { skipped } = view.roll();
  assert.deepEqual([skipped.length, skipped.at(-1)?.key], [101, 'v1/']);
});

test('a foreign key is named until it is deleted', () => {
  const view = createView(empty());
  const skipped = { key: 'v1/other', reason: 'neither a record nor a presence' };
  view.apply({ revision: '2', changes: [{ kind: 'skipped', skipped }] });
  assert.deepEqual(view.roll().skipped, [skipped]);
  view.apply({ revision: '3', changes: [{ kind: 'unskipped', key: 'v1/other' }] });
  assert.deepEqual(view.roll(), empty('3'));
});

test('ten thousand single-change batches are applied in far less than quadratic time', () => {
  const all = Array.from({ length: 10_000 }, (_, n) => entry(n));
  const view = createView({ revision: '1', entries: all, skipped: [] });
  const timer = startMachineTimer();
  for (let n = 0; n < 10_000; n += 1) view.apply({ revision: String(n + 2), changes: [presenceGone(n)] });
  assert.equal(view.count().lost, 10_000);
  timer.tick();
  assert.ok(timer.elapsedMs() < 5_000, `${timer.elapsedMs()} ms`);
});

function presenceGone(n: number) {
  return { kind: 'presence', instanceId: sampleInstanceId(n), presence: null, previous: PRESENCE } as const;
}
