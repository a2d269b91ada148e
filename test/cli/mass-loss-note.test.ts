import assert from 'node:assert/strict';
import { test } from 'node:test';
import { massLossNote } from '../../src/cli/columns.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

const LIMITS = { share: 0.3, count: 5 };

function fleet(lost: number, present: number, departed = 0, ttlSeconds = 20): RollEntry[] {
  return Array.from({ length: lost + present + departed }, (_, n) => {
    const record = sampleRecord({ ec2InstanceId: sampleInstanceId(n) });
    if (n < lost) return { record, presence: null };
    if (n < lost + present) return { record, presence: { session: 's', since: record.registeredAt, ttlSeconds } };
    return { record: { ...record, departure: { cause: 'stopped', at: record.registeredAt } }, presence: null };
  });
}

test('a loss beyond both limits is told with its numbers, the limit and when to look again', () => {
  assert.equal(
    massLossNote(fleet(12, 18), LIMITS, false),
    'note: 12 of 30 nodes are lost (40%, more than 30%): if that is new, the store or the network may be what failed, and who is alive is back within 20s; --all shows them',
  );
});

test('who asked for all nodes already sees the lost ones', () => {
  assert.doesNotMatch(massLossNote(fleet(12, 18), LIMITS, true) ?? '', /--all/);
});

test('one limit alone says nothing: a small fleet that loses half, a large one that loses a few, exactly the share', () => {
  assert.equal(massLossNote(fleet(4, 1), LIMITS, false), null);
  assert.equal(massLossNote(fleet(29, 71), LIMITS, false), null);
  assert.equal(massLossNote(fleet(30, 70), LIMITS, false), null);
  assert.notEqual(massLossNote(fleet(31, 69), LIMITS, false), null);
  assert.notEqual(massLossNote(fleet(5, 0), LIMITS, false), null);
});

test('nodes that departed are neither lost nor there to be lost', () => {
  assert.match(massLossNote(fleet(5, 5, 90), LIMITS, false) ?? '', /^note: 5 of 10 nodes/);
});

test('where no node is present the usual TTL says when to look again', () => {
  assert.match(massLossNote(fleet(9, 0), LIMITS, false) ?? '', /back within 30s/);
});

test('it can be switched off', () => {
  assert.equal(massLossNote(fleet(50, 0), null, false), null);
});
