import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultFields, LIST_FIELDS } from '../../src/cli/columns.ts';
import { renderInstance } from '../../src/cli/show.ts';
import type { Interruption } from '../../src/record/record.ts';
import { sampleRecord } from '../support/sample-record.ts';

const announced = (interruption: Interruption | null) => ({ record: sampleRecord({ interruption }), presence: null });

test('a notice is shown with its action and time, as far as it names them', () => {
  const spot = announced({ kind: 'spot-interruption', action: 'terminate', time: '2030-01-01T00:00:00Z' });
  assert.equal(LIST_FIELDS.notice.value(spot), 'spot-interruption terminate 2030-01-01T00:00:00Z');
  const asg = announced({ kind: 'asg-termination', action: 'terminate', time: null });
  assert.equal(LIST_FIELDS.notice.value(asg), 'asg-termination terminate');
  assert.equal(LIST_FIELDS.notice.value(announced(null)), null);
});

test('who looks at a node, or at the wide list, sees what is announced to it', () => {
  const spot = announced({ kind: 'spot-interruption', action: 'terminate', time: '2030-01-01T00:00:00Z' });
  assert.match(renderInstance(spot, 0), /^Notice +spot-interruption terminate 2030-01-01T00:00:00Z$/m);
  assert.match(renderInstance(announced(null), 0), /^Notice +-$/m);
  assert.ok(defaultFields('wide', false).includes('notice'));
});
