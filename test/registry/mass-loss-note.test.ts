import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RollEntry } from '../../src/record/roll.ts';
import { massLossNote } from '../../src/registry/mass-loss.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

describe('mass loss note', () => {
  const LIMITS = { share: 0.3, count: 5 };

  function fleet(lost: number, present: number, departed = 0, ttlSeconds = 20): RollEntry[] {
    return Array.from({ length: lost + present + departed }, (_, n) => {
      const record = sampleRecord({ ec2InstanceId: sampleInstanceId(n) });
      if (n < lost) return { record, presence: null };
      if (n < lost + present) return { record, presence: { session: 's', since: record.registeredAt, ttlSeconds } };
      return { record: { ...record, departure: { cause: 'stopped', at: record.registeredAt } }, presence: null };
    });
  }

  test('a loss beyond both limits gives a note with its numbers, the limit and when running agents are back', () => {
    assert.equal(
      massLossNote(fleet(12, 18), LIMITS, false),
      '12 of 30 nodes are lost (40%, more than 30%): if this is new, the store or the network may have failed, and running agents are back within 20s; --all shows the lost nodes',
    );
  });

  test('with --all the note does not mention --all', () => {
    assert.doesNotMatch(massLossNote(fleet(12, 18), LIMITS, true) ?? '', /--all/);
  });

  test('a loss beyond only one of the limits, or exactly at the share, gives no note', () => {
    assert.equal(massLossNote(fleet(4, 1), LIMITS, false), null);
    assert.equal(massLossNote(fleet(29, 71), LIMITS, false), null);
    assert.equal(massLossNote(fleet(30, 70), LIMITS, false), null);
    assert.notEqual(massLossNote(fleet(31, 69), LIMITS, false), null);
    assert.notEqual(massLossNote(fleet(5, 0), LIMITS, false), null);
  });

  test('departed nodes count neither as lost nor as nodes', () => {
    assert.match(massLossNote(fleet(5, 5, 90), LIMITS, false) ?? '', /^5 of 10 nodes/);
  });

  test('without a present node the default TTL is in the note', () => {
    assert.match(massLossNote(fleet(9, 0), LIMITS, false) ?? '', /back within 30s/);
  });

  test('a TTL of more than 5 minutes counts as 5 minutes', () => {
    assert.match(massLossNote(fleet(5, 5, 0, 1e9), LIMITS, false) ?? '', /back within 300s/);
  });

  test('without limits there is no note', () => {
    assert.equal(massLossNote(fleet(50, 0), null, false), null);
  });
});
