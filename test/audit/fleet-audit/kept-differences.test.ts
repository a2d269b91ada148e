import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Difference, Note } from '../../../src/audit/audit-report.ts';
import { differenceChanges, findDifferences, withChanges } from '../../../src/audit/fleet-audit/kept-differences.ts';
import { decodeDifference } from '../../../src/record/difference.ts';
import { parseKey } from '../../../src/store/keys.ts';
import { sampleAuditReport } from '../../support/fake-audit.ts';

const ARN = 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/';
const difference = (n: number, overrides: Partial<Difference> = {}): Difference => ({
  kind: 'ghost',
  instanceId: `i-${n.toString(16).padStart(8, '0')}`,
  cluster: 'demo',
  containerInstanceArn: `${ARN}${n}`,
  privateIpAddress: null,
  since: null,
  reason: 'never on the roll',
  ...overrides,
});
const find = (differences: readonly Difference[], notes: readonly Note[] = []) =>
  findDifferences(sampleAuditReport({ differences, notes }));
const none = new Map<string, string>();

test('a ghost, a stray and a mismatch are kept, each once, with an instant; a disconnection is not', () => {
  const { wanted } = find([
    difference(1),
    difference(2, { kind: 'stray', since: '2026-01-01T00:00:00.000Z', privateIpAddress: '10.0.0.1' }),
    difference(3, { kind: 'mismatch', instanceId: null }),
    difference(4, { kind: 'disconnected' }),
  ]);
  assert.deepEqual(
    [...wanted.keys()],
    ['v1/differences/ghost/i-00000001:1', 'v1/differences/stray/i-00000002:2', 'v1/differences/mismatch/-:3'],
  );
  const kept = [...wanted.values()].map(decodeDifference);
  assert.deepEqual(
    kept.map((each) => each.ok && each.value.since),
    ['2026-01-01T00:00:30.000Z', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:30.000Z'],
  );
});

test('what is kept is not written again, and is removed when an audit no longer finds it', () => {
  const first = differenceChanges(none, find([difference(1), difference(2)]));
  assert.deepEqual(Object.keys(first).length, 2);
  const stored = withChanges(none, first);
  const otherWords = find([difference(1, { reason: 'its ecs-agent is disconnected' }), difference(2)]);
  assert.deepEqual(differenceChanges(stored, otherWords), {});
  const one = differenceChanges(stored, find([difference(2)]));
  assert.deepEqual(one, { 'v1/differences/ghost/i-00000001:1': null });
  assert.equal(withChanges(stored, one).size, 1);
});

test('a difference stays while an audit cannot tell', () => {
  const stored = withChanges(none, differenceChanges(none, find([difference(1), difference(2)])));
  const unsure: Note = { ...difference(1), kind: 'changing' };
  assert.deepEqual(Object.values(differenceChanges(stored, find([], [unsure]))), [null]);
});

test('a key is a word, and a difference is small, whatever a node writes in its record', () => {
  const long = 'x'.repeat(60_000);
  const { wanted } = find([
    difference(1, { kind: 'stray', containerInstanceArn: `${ARN}ł` }),
    difference(2, { kind: 'stray', containerInstanceArn: `${ARN}${long}`, cluster: long, reason: long }),
  ]);
  for (const [key, text] of wanted) {
    assert.match(key, /^v1\/differences\/stray\/i-0000000[12]:[0-9a-f]{32}$/);
    assert.deepEqual(parseKey(key), { kind: 'difference' });
    assert.ok(text.length < 2_000, `${text.length} characters`);
    assert.equal(decodeDifference(text).ok, true);
  }
  assert.equal(wanted.size, 2);
});

test('a key that no audit writes is foreign, and a value that is too large is not parsed', () => {
  for (const name of ['stray/i-1:\u001b[2J', 'x/i-1:1', `ghost/${'x'.repeat(300)}`, '']) {
    assert.equal(parseKey(`v1/differences/${name}`).kind, 'foreign', name);
  }
  assert.equal(decodeDifference(JSON.stringify({ ...difference(1), reason: 'x'.repeat(70_000) })).ok, false);
});

test('of very many 100 are written by one audit, and 500 are kept', () => {
  const many = find(Array.from({ length: 700 }, (_, n) => difference(n + 1)));
  let stored: ReadonlyMap<string, string> = none;
  for (let audit = 0; audit < 10; audit += 1) {
    const changes = differenceChanges(stored, many);
    assert.equal(Object.keys(changes).length, audit < 5 ? 100 : 0);
    stored = withChanges(stored, changes);
  }
  assert.equal(stored.size, 500);
});

test('a stored difference is foreign text: what does not fit is refused', () => {
  const text = (overrides: object) => JSON.stringify({ ...difference(1), since: null, ...overrides });
  assert.equal(decodeDifference(text({})).ok, true);
  for (const wrong of [
    { kind: 'x' },
    { instanceId: '-oProxyCommand=x' },
    { cluster: 'a b' },
    { containerInstanceArn: 'a\u001bb' },
    { privateIpAddress: '-o' },
    { since: 'soon' },
    { reason: 1 },
  ]) {
    assert.equal(decodeDifference(text(wrong)).ok, false, JSON.stringify(wrong));
  }
  const { value } = decodeDifference(text({ reason: 'a\u001b]0;x' })) as { value: { reason: string } };
  assert.equal(value.reason, 'a?]0;x');
});
