import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boardNode, byMood, haystackOf, isInTile, stateAgeMs, zonesOf } from '../../src/board/nodes.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

const THERE = { state: 'present', session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 } as const;
const GONE = { state: 'lost', session: null, since: null, ttlSeconds: null } as const;
const NOW_MS = Date.parse('2026-01-02T00:00:00.000Z');

function node(n: number, overrides: Partial<NodeRecord> = {}, presence: typeof THERE | typeof GONE = THERE) {
  return boardNode({ ...sampleRecord({ ec2InstanceId: sampleInstanceId(n), ...overrides }), presence });
}

function failing(status: 'warning' | 'critical', reason: string): Partial<NodeRecord> {
  const since = '2026-01-01T00:00:00.000Z';
  return { health: { status, since, checks: [{ name: 'disk', status, reason, since }] } };
}

test('a node has the mood of its health while it is present, else of its presence', () => {
  assert.equal(node(1).mood, 'passing');
  assert.equal(node(1, failing('critical', 'full')).mood, 'critical');
  assert.equal(node(1, failing('critical', 'full')).reason, 'disk: full');
  const lost = node(1, failing('critical', 'full'), GONE);
  assert.deepEqual([lost.mood, lost.health, lost.since], ['lost', 'critical', null]);
  const departure = { cause: 'stopped', at: '2026-01-01T12:00:00.000Z' } as const;
  const record = { ...sampleRecord({ departure }), presence: { ...GONE, state: 'departed' as const } };
  assert.deepEqual([boardNode(record).mood, boardNode(record).state], ['departed', 'departed: stopped']);
});

test('since when a node is what it is does not depend on its own clock', () => {
  const slow = { clockSkewSeconds: -7_200 };
  assert.equal(node(1, { ...slow, ...failing('critical', 'full') }).since, '2026-01-01T02:00:00.000Z');
  assert.equal(node(1, { clockSkewSeconds: null, ...failing('critical', 'full') }).since, '2026-01-01T00:00:00.000Z');
  // A day ago but for the clock.
  const departure = { cause: 'stopped', at: '2025-12-31T23:00:00.000Z' } as const;
  const gone = { ...sampleRecord({ departure, ...slow }), presence: { ...GONE, state: 'departed' as const } };
  assert.equal(boardNode(gone).since, '2026-01-01T01:00:00.000Z');
  assert.equal(isInTile('departed', boardNode(gone), new Set(), NOW_MS), true);
  assert.equal(isInTile('departed', boardNode({ ...gone, clockSkewSeconds: 0 }), new Set(), NOW_MS), false);
});

test("the age of a state is by EC2's clock, but that of a loss, which the agent saw", () => {
  const since = '2026-01-01T00:00:00.000Z';
  const lost = boardNode({ ...sampleRecord(), presence: GONE }, since);
  const nowMs = NOW_MS - 3_600_000;
  assert.equal(stateAgeMs(node(1, failing('critical', 'full')), nowMs, NOW_MS), 86_400_000);
  assert.equal(stateAgeMs(lost, nowMs, NOW_MS), 82_800_000);
  assert.equal(stateAgeMs({ ...lost, since: null }, nowMs, NOW_MS), null);
});

test('text of a record cannot turn the text around it or control anything', () => {
  const hostile = node(1, {
    ...failing('warning', 'a\u202eb\u0007<img src=x onerror=alert(1)>'),
    labels: { 'a\u2066': '\u001b]0;x' },
  });
  assert.equal(hostile.reason, 'disk: a?b?<img src=x onerror=alert(1)>');
  assert.deepEqual(hostile.labels, ['a?=?]0;x']);
  assert.ok(haystackOf(hostile).includes('onerror'));
});

test('a tile counts what it says', () => {
  const none = new Set<string>();
  assert.equal(isInTile('present', node(1), none, NOW_MS), true);
  assert.equal(isInTile('present', node(1, {}, GONE), none, NOW_MS), false);
  assert.equal(isInTile('lost', node(1, {}, GONE), none, NOW_MS), true);
  assert.equal(isInTile('draining', node(1), new Set([sampleInstanceId(1)]), NOW_MS), true);
  const departed = (at: string) =>
    boardNode({
      ...sampleRecord({ departure: { cause: 'stopped', at } }),
      presence: { ...GONE, state: 'departed' },
    });
  assert.equal(isInTile('departed', departed('2026-01-01T01:00:00.000Z'), none, NOW_MS), true);
  assert.equal(isInTile('departed', departed('2025-12-31T23:00:00.000Z'), none, NOW_MS), false);
});

test('the worst come first, then the addresses as numbers', () => {
  const nodes = [
    node(1, { privateIpAddress: '10.0.0.10' }),
    node(2, { privateIpAddress: '10.0.0.9' }),
    node(3, { privateIpAddress: null }),
    node(4, { ...failing('critical', ''), privateIpAddress: '10.0.0.99' }),
    node(5, {}, GONE),
  ];
  assert.deepEqual(
    nodes.sort(byMood).map(({ id }) => Number(`0x${id.slice(2)}`)),
    [5, 4, 2, 1, 3],
  );
});

test('each node is a square of its zone; many share squares, and no mood disappears', () => {
  const few = zonesOf([node(1), node(2, { availabilityZone: null }), node(3, failing('warning', ''))]);
  assert.equal(few.perSquare, 1);
  assert.deepEqual(
    few.zones.map(({ name, squares }) => [name, squares.map(({ mood }) => mood)]),
    [
      ['us-east-1a', ['warning', 'passing']],
      [null, ['passing']],
    ],
  );
  const many = zonesOf(Array.from({ length: 9_000 }, (_, n) => node(n, n === 7 ? failing('critical', 'x') : {})));
  const squares = many.zones[0]?.squares ?? [];
  assert.ok(squares.length < 500 && many.perSquare > 1, `${squares.length} squares`);
  assert.deepEqual(squares[0], { mood: 'critical', count: 1, node: null });
  assert.equal(
    squares.reduce((sum, { count }) => sum + count, 0),
    9_000,
  );
});
