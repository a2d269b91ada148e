import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { defaultFields, LIST_FIELDS } from '../../src/cli/columns.ts';
import { renderInstance } from '../../src/cli/show.ts';
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

  test('show and the wide list have the notice', () => {
    const spot = announced({ kind: 'spot-interruption', action: 'terminate', time: '2030-01-01T00:00:00Z' });
    assert.match(renderInstance(spot, 0), /^Notice +spot-interruption terminate 2030-01-01T00:00:00Z$/m);
    assert.match(renderInstance(announced(null), 0), /^Notice +-$/m);
    assert.ok(defaultFields('wide', false).includes('notice'));
  });
});
