import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from '../../bench/judge.ts';

test('a number that meets its limit is within "at most" and over "under"', () => {
  assert.equal(judge(80, { relation: 'at most', value: 80 }), 'within');
  assert.equal(judge(80, { relation: 'under', value: 80 }), 'over');
  assert.equal(judge(79.9, { relation: 'under', value: 80 }), 'within');
  assert.equal(judge(80.1, { relation: 'at most', value: 80 }), 'over');
});

test('what is no number keeps no limit', () => {
  assert.equal(judge(Number.NaN, { relation: 'at most', value: 80 }), 'over');
});
