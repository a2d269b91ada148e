import assert from 'node:assert/strict';
import { test } from 'node:test';
import { quantile } from '../../bench/quantile.ts';

test('the median of an odd number of values is the middle one, whatever their order', () => {
  assert.equal(quantile([9, 1, 5], 0.5), 5);
});

test('a quantile between two values is interpolated, and 0 and 1 are the extremes', () => {
  const values = [10, 20, 30, 40];
  assert.deepEqual(
    [0, 0.5, 0.9, 1].map((share) => quantile(values, share)),
    [10, 25, 37, 40],
  );
});

test('values are compared as numbers, and the array given stays as it is', () => {
  const values = [100, 9, 20];
  assert.equal(quantile(values, 0), 9);
  assert.deepEqual(values, [100, 9, 20]);
});

test('no values have no quantile', () => {
  assert.throws(() => quantile([], 0.5), RangeError);
});
