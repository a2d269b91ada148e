import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { defaultFields, LIST_FIELDS, massLossNote, renderTable, sortByAddress } from '../../src/cli/columns.ts';
import { renderInstance } from '../../src/cli/show.ts';
import type { Interruption } from '../../src/record/record.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

describe('list fields', () => {
  const announced = (interruption: Interruption | null) => ({ record: sampleRecord({ interruption }), presence: null });

  test('a notice has its kind, and its action and time if known', () => {
    const spot = announced({ kind: 'spot-interruption', action: 'terminate', time: '2030-01-01T00:00:00Z' });
    assert.equal(LIST_FIELDS.notice.value(spot), 'spot-interruption terminate 2030-01-01T00:00:00Z');
    const asg = announced({ kind: 'asg-termination', action: 'terminate', time: null });
    assert.equal(LIST_FIELDS.notice.value(asg), 'asg-termination terminate');
    assert.equal(LIST_FIELDS.notice.value(announced(null)), null);
  });

  test('show and the wide list have the notice', () => {
    const spot = announced({ kind: 'spot-interruption', action: 'terminate', time: '2030-01-01T00:00:00Z' });
    assert.match(renderInstance(spot, 0), /^Notice +spot-interruption terminate 2030-01-01T00:00:00Z$/m);
    assert.match(renderInstance(announced(null), 0), /^Notice +-$/m);
    assert.ok(defaultFields('wide', false).includes('notice'));
  });
});

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
      'note: 12 of 30 nodes are lost (40%, more than 30%): if this is new, the store or the network may have failed, and running agents are back within 20s; --all shows the lost nodes',
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
    assert.match(massLossNote(fleet(5, 5, 90), LIMITS, false) ?? '', /^note: 5 of 10 nodes/);
  });

  test('without a present node the default TTL is in the note', () => {
    assert.match(massLossNote(fleet(9, 0), LIMITS, false) ?? '', /back within 30s/);
  });

  test('without limits there is no note', () => {
    assert.equal(massLossNote(fleet(50, 0), null, false), null);
  });
});

describe('render table', () => {
  test('columns are as wide as their widest cell, without spaces after the last', () => {
    const table = renderTable(
      ['IP', 'INSTANCE'],
      [
        ['10.0.0.1', 'i-1'],
        ['10.0.0.100', null],
      ],
    );
    assert.equal(table, 'IP          INSTANCE\n10.0.0.1    i-1\n10.0.0.100  -\n');
    assert.equal(renderTable(null, []), '');
  });

  test('control characters in a record do not reach the terminal', () => {
    assert.equal(renderTable(null, [['a\u001b[2Jb\nc\u009d', '']]), 'a?[2Jb?c?  -\n');
  });

  test('the longest possible ARN is shown whole; a longer text is cut', () => {
    const prefix = 'arn:aws-us-gov:ecs:us-gov-west-1:123456789012:container-instance';
    const arn = `${prefix}/${'c'.repeat(255)}/01cc9de0-3b9a-1768-fbbb-6f3a2560b1bb`;
    assert.equal(renderTable(null, [[arn]]), `${arn}\n`);
    assert.equal(renderTable(null, [['x'.repeat(1_000_000)]]).length, 401);
  });
});

describe('sort by address', () => {
  test('addresses sort as numbers, entries without one come last, equal ones keep their order', () => {
    const addresses = ['10.0.0.10', null, '10.0.0.9', '255.255.255.255', '9.255.0.1', '::1', '10.0.0.9', '10.0.1.2'];
    const entries = addresses.map((privateIpAddress, n) => ({
      record: sampleRecord({ privateIpAddress, ec2InstanceId: sampleInstanceId(n) }),
      presence: null,
    }));
    const sorted = sortByAddress(entries).map(({ record }) => [record.privateIpAddress, record.ec2InstanceId]);
    assert.deepEqual(sorted, [
      ['9.255.0.1', sampleInstanceId(4)],
      ['10.0.0.9', sampleInstanceId(2)],
      ['10.0.0.9', sampleInstanceId(6)],
      ['10.0.0.10', sampleInstanceId(0)],
      ['10.0.1.2', sampleInstanceId(7)],
      ['255.255.255.255', sampleInstanceId(3)],
      [null, sampleInstanceId(1)],
      ['::1', sampleInstanceId(5)],
    ]);
  });
});
