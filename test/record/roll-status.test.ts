import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeRecord } from '../../src/record/record.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { MAX_STATUS_NODES, rollStatus } from '../../src/record/roll-status.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

const PRESENCE = { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };

function node(n: number, isPresent = true, overrides: Partial<NodeRecord> = {}): RollEntry {
  const record = sampleRecord({ ec2InstanceId: sampleInstanceId(n), privateIpAddress: `10.0.0.${n}`, ...overrides });
  return { record, presence: isPresent ? PRESENCE : null };
}

const sick = (status: 'warning' | 'critical', name: string) => ({
  status,
  since: '2026-01-01T00:00:00Z',
  checks: [
    { name: 'docker', status: 'passing' as const, reason: '', since: '2026-01-01T00:00:00Z' },
    { name, status, reason: `${name} is ill`, since: '2026-01-01T01:00:00Z' },
  ],
});
const left = (at: string) => ({ departure: { cause: 'stopped' as const, at } });

test('an empty roll has no groups and counts nothing', () => {
  const { nodes, groups } = rollStatus([]);
  assert.deepEqual([nodes, groups], [{ present: 0, passing: 0, warning: 0, critical: 0, lost: 0, departed: 0 }, []]);
});

test('nodes are counted by cluster and zone, health of the present ones only; what is unknown comes last', () => {
  const { nodes, groups } = rollStatus([
    node(1, true, { cluster: null, availabilityZone: null }),
    node(2, true, { availabilityZone: 'us-east-1b', health: sick('warning', 'disk') }),
    node(3),
    node(4, false, { health: sick('critical', 'docker') }),
    node(5, false, left('2026-01-01T00:00:00Z')),
    node(6, true, { cluster: 'alpha', health: sick('critical', 'docker') }),
  ]);
  assert.deepEqual(nodes, { present: 4, passing: 2, warning: 1, critical: 1, lost: 1, departed: 1 });
  const none = { present: 0, passing: 0, warning: 0, critical: 0, lost: 0, departed: 0 };
  assert.deepEqual(groups, [
    { ...none, cluster: 'alpha', availabilityZone: 'us-east-1a', present: 1, critical: 1 },
    { ...none, cluster: 'demo', availabilityZone: 'us-east-1a', present: 1, passing: 1, lost: 1, departed: 1 },
    { ...none, cluster: 'demo', availabilityZone: 'us-east-1b', present: 1, warning: 1 },
    { ...none, cluster: null, availabilityZone: null, present: 1, passing: 1 },
  ]);
});

test('the nodes to look at: lost, departed newest first, unhealthy worst first with the check, noticed', () => {
  const interruption = { kind: 'spot-interruption', action: 'terminate', time: '2026-01-01T02:00:00Z' };
  const status = rollStatus([
    node(1, false, left('2026-01-01T00:00:00Z')),
    node(2, false, left('2026-01-01T03:00:00Z')),
    node(3, true, { health: sick('warning', 'disk') }),
    node(4, true, { health: sick('critical', 'docker') }),
    node(5, true, { interruption }),
    node(6, false, { interruption }),
  ]);
  assert.deepEqual(
    status.departed.map(({ ec2InstanceId, cause, at }) => [ec2InstanceId, cause, at]),
    [
      [sampleInstanceId(2), 'stopped', '2026-01-01T03:00:00Z'],
      [sampleInstanceId(1), 'stopped', '2026-01-01T00:00:00Z'],
    ],
  );
  assert.deepEqual(status.unhealthy, [
    {
      ...{ ec2InstanceId: sampleInstanceId(4), privateIpAddress: '10.0.0.4', cluster: 'demo' },
      ...{ availabilityZone: 'us-east-1a', health: 'critical', check: 'docker' },
      ...{ reason: 'docker is ill', since: '2026-01-01T01:00:00Z', byOwnClock: false },
    },
    { ...status.unhealthy[1], ec2InstanceId: sampleInstanceId(3), health: 'warning', check: 'disk' },
  ]);
  assert.deepEqual(
    status.notices.map(({ ec2InstanceId, kind, action, time }) => [ec2InstanceId, kind, action, time]),
    [[sampleInstanceId(5), 'spot-interruption', 'terminate', '2026-01-01T02:00:00Z']],
    'a node that is gone has no notice to act on',
  );
  assert.deepEqual(
    status.lost.map(({ ec2InstanceId }) => ec2InstanceId),
    [sampleInstanceId(6)],
  );
});

test('instants are brought to EC2’s clock, and sorted by that; where the node’s clock is not compared it is said', () => {
  const off = (clockSkewSeconds: number | null) => ({ clockSkewSeconds, health: sick('critical', 'docker') });
  const { departed, unhealthy } = rollStatus([
    node(1, false, { ...left('2026-01-01T00:30:00Z'), clockSkewSeconds: 3_600 }),
    node(2, false, left('2026-01-01T00:00:00Z')),
    node(3, false, { ...left('2025-12-31T23:15:00Z'), clockSkewSeconds: -3_600 }),
    node(4, false, { ...left('2026-01-01T00:10:00Z'), clockSkewSeconds: null }),
    node(5, false, { ...left('once'), clockSkewSeconds: -3_600 }),
    node(6, true, off(3_600)),
    node(7, true, off(null)),
  ]);
  assert.deepEqual(
    departed.map(({ ec2InstanceId, at, byOwnClock }) => [ec2InstanceId, at, byOwnClock]),
    [
      ['i-00000003', '2026-01-01T00:15:00.000Z', false],
      ['i-00000004', '2026-01-01T00:10:00Z', true],
      ['i-00000002', '2026-01-01T00:00:00Z', false],
      ['i-00000001', '2025-12-31T23:30:00.000Z', false],
      ['i-00000005', 'once', false],
    ],
  );
  assert.deepEqual(
    unhealthy.map(({ since, byOwnClock }) => [since, byOwnClock]),
    [
      ['2026-01-01T00:00:00.000Z', false],
      ['2026-01-01T01:00:00Z', true],
    ],
  );
});

test('lists are bounded, numbers are not', () => {
  const { nodes, lost } = rollStatus(Array.from({ length: MAX_STATUS_NODES + 7 }, (_, n) => node(n, false)));
  assert.deepEqual([nodes.lost, lost.length], [MAX_STATUS_NODES + 7, MAX_STATUS_NODES]);
  const interruption = { kind: 'spot-interruption', action: 'terminate', time: null };
  const { notices, noticed } = rollStatus(
    Array.from({ length: MAX_STATUS_NODES + 7 }, (_, n) => node(n, true, { interruption })),
  );
  assert.deepEqual([noticed, notices.length], [MAX_STATUS_NODES + 7, MAX_STATUS_NODES]);
});
