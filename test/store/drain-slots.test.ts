import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Roll, RollEntry } from '../../src/record/roll.ts';
import { decideRoom, type StoredClaim } from '../../src/store/drain-slots.ts';
import { ROOT, recordKey } from '../../src/store/keys.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

const presence = { session: 's', since: '2026-01-01T00:00:00Z', ttlSeconds: 30 };
const entry = (n: number, more: Partial<RollEntry['record']> = {}, there = true): RollEntry => ({
  record: sampleRecord({ ec2InstanceId: sampleInstanceId(n), ...more }),
  presence: there ? presence : null,
});
const rollOf = (entries: readonly RollEntry[], more: Partial<Roll> = {}): Roll => ({
  revision: '1',
  entries,
  skipped: [],
  ...more,
});
const claim = (n: number, cluster = 'demo'): StoredClaim => ({
  instanceId: sampleInstanceId(n),
  claim: { phase: 'drained', arn: 'a', cluster, reason: '', since: '', session: '' },
});
const here = { cluster: 'demo', arn: sampleRecord().containerInstanceArn ?? '' };
const present = (count: number) => Array.from({ length: count }, (_, n) => entry(n));
const slots = (count: number, percent: number) => decideRoom(here, [], rollOf(present(count)), percent).slots;

test('the share of the cluster’s present nodes rounded down, and at least one', () => {
  assert.deepEqual([slots(0, 10), slots(9, 10), slots(10, 10), slots(19, 10), slots(20, 10)], [1, 1, 1, 1, 2]);
  assert.deepEqual([slots(10, 30), slots(100, 29), slots(10, 100), slots(200, 57.5)], [3, 29, 10, 115]);
  const mixed = [...present(10), entry(10, { cluster: 'other' }), entry(11, {}, false)];
  assert.equal(decideRoom(here, [], rollOf(mixed), 100).slots, 10);
});

const lostWith = (kind: string, action: string) => entry(0, { interruption: { kind, action, time: null } }, false);
const left = (cause: 'stopped' | 'spot-interruption' | 'maintenance', action: string | null) =>
  entry(
    0,
    { departure: { cause, at: '' }, interruption: action === null ? null : { kind: cause, action, time: null } },
    false,
  );
for (const [name, entries, more, taken] of [
  ['present', [entry(0)], {}, 1],
  ['lost', [entry(0, {}, false)], {}, 1],
  ['stopped', [left('stopped', null)], {}, 1],
  ['gone to be rebooted', [left('maintenance', 'instance-reboot')], {}, 1],
  ['gone to be stopped by EC2', [left('spot-interruption', 'stop')], {}, 1],
  ['gone to be terminated', [left('spot-interruption', 'terminate')], {}, 0],
  ['lost after a notice of its end', [lostWith('spot-interruption', 'terminate')], {}, 0],
  ['lost after a notice of its stop', [lostWith('spot-interruption', 'stop')], {}, 1],
  ['lost while its group waits to end it', [lostWith('asg-termination', 'terminate')], {}, 1],
  ['forgotten', [], {}, 0],
  [
    'not there, with a record that cannot be read',
    [],
    { skipped: [{ key: recordKey(sampleInstanceId(0)), reason: 'r' }] },
    1,
  ],
  [
    'forgotten, beside another’s record that cannot be read',
    [],
    { skipped: [{ key: recordKey(sampleInstanceId(1)), reason: 'r' }] },
    0,
  ],
  ['forgotten, beside a foreign key', [], { skipped: [{ key: `${ROOT}x`, reason: 'r' }] }, 0],
  ['not there, where more records than are named cannot be read', [], { skipped: [{ key: ROOT, reason: 'r' }] }, 1],
] as const) {
  test(`the claim of a node that is ${name} uses ${taken} slots`, () => {
    assert.equal(decideRoom(here, [claim(0)], rollOf(entries, more), 10).taken, taken);
  });
}

test('claims of other clusters and overruled claims use no slot; an unreadable claim counts for its node’s cluster', () => {
  const taken = (stored: StoredClaim) => decideRoom(here, [stored], rollOf([entry(0)]), 10).taken;
  assert.equal(taken(claim(0, 'other')), 0);
  const overruled = claim(0).claim;
  assert.equal(taken({ ...claim(0), claim: overruled && { ...overruled, phase: 'overruled' } }), 0);
  assert.equal(taken({ ...claim(0), claim: null }), 1);
});

test('names the nodes that have the slots, and counts the rest of many', () => {
  const room = decideRoom(
    here,
    [0, 1, 2, 3, 4].map((n) => claim(n)),
    rollOf(present(10)),
    50,
  );
  assert.equal(room.free, false);
  assert.equal(room.reason, '5 of 5 drain slots of demo are taken: i-00000000, i-00000001, i-00000002 and 2 more');
});

test('a cluster of the same name in another region is another cluster', () => {
  const arn = (n: number) => `arn:aws:ecs:eu-west-1:123456789012:container-instance/demo/${n}`;
  const far = Array.from({ length: 90 }, (_, n) => entry(n + 10, { containerInstanceArn: arn(n + 10) }));
  const roll = rollOf([...present(10), ...far]);
  const [farClaim] = [claim(10)].map(({ instanceId, claim }) => ({
    instanceId,
    claim: claim && { ...claim, arn: arn(10) },
  }));
  assert.ok(farClaim);
  const room = decideRoom(here, [farClaim], roll, 20);
  assert.deepEqual([room.slots, room.taken], [2, 0]);
  assert.equal(decideRoom({ ...here, arn: arn(11) }, [farClaim], roll, 20).slots, 18);
  assert.equal(decideRoom({ ...here, arn: arn(11) }, [farClaim], roll, 20).taken, 1);
});
