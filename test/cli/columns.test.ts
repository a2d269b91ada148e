import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { defaultFields, LIST_FIELD_NAMES, LIST_FIELDS } from '../../src/cli/columns.ts';
import { renderInstance } from '../../src/cli/show.ts';
import { decodeRecord } from '../../src/record/codec.ts';
import type { Interruption } from '../../src/record/record.ts';
import { sampleRecord } from '../support/sample-record.ts';

describe('list fields', () => {
  const announced = (interruption: Interruption | null) => ({ record: sampleRecord({ interruption }), presence: null });

  test('a notice has its kind, and its action and time if known', () => {
    const spot = announced({ kind: 'spot-interruption', action: 'terminate', time: '2030-01-01T00:00:00Z' });
    assert.equal(LIST_FIELDS.notice.value(spot), 'spot-interruption terminate 2030-01-01T00:00:00Z');
    const asg = announced({ kind: 'asg-termination', action: 'terminate', time: null });
    assert.equal(LIST_FIELDS.notice.value(asg), 'asg-termination terminate');
    assert.equal(LIST_FIELDS.notice.value(announced(null)), null);
  });

  test('no text of a record looks like several columns, which two spaces separate', () => {
    const forged = 'x  10.9.9.9 \u3000 i-8a8d0000\u00a0\u00a0arn:aws:ecs';
    const health = {
      ...sampleRecord().health,
      checks: [{ name: 'a  b', status: 'critical', reason: forged, since: '' }],
    };
    const interruption = { kind: ` ${forged} `, action: ' ', time: '  ' };
    const text = JSON.stringify({ ...sampleRecord(), health: { ...health, status: 'critical' }, interruption });
    const decoded = decodeRecord(sampleRecord().ec2InstanceId, text);
    assert.ok(decoded.ok);
    for (const name of LIST_FIELD_NAMES) {
      const cell = LIST_FIELDS[name].value({ record: decoded.value, presence: null });
      assert.doesNotMatch(cell ?? '', /\s\s|^\s|\s$/, name);
    }
  });

  test('show and the wide list have the notice', () => {
    const spot = announced({ kind: 'spot-interruption', action: 'terminate', time: '2030-01-01T00:00:00Z' });
    assert.match(renderInstance(spot, 0), /^Notice +spot-interruption terminate 2030-01-01T00:00:00Z$/m);
    assert.match(renderInstance(announced(null), 0), /^Notice +-$/m);
    assert.ok(defaultFields('wide', false).includes('notice'));
  });
});
