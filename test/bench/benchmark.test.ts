import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createCleanup, judge, quantile } from '../../bench/benchmark.ts';

describe('judge', () => {
  test('a number that meets its limit is within "at most" and over "under"', () => {
    assert.equal(judge(80, { relation: 'at most', value: 80 }), 'within');
    assert.equal(judge(80, { relation: 'under', value: 80 }), 'over');
    assert.equal(judge(79.9, { relation: 'under', value: 80 }), 'within');
    assert.equal(judge(80.1, { relation: 'at most', value: 80 }), 'over');
  });

  test('NaN keeps no limit', () => {
    assert.equal(judge(Number.NaN, { relation: 'at most', value: 80 }), 'over');
  });
});

describe('quantile', () => {
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

  test('values are compared as numbers, and the array is not changed', () => {
    const values = [100, 9, 20];
    assert.equal(quantile(values, 0), 9);
    assert.deepEqual(values, [100, 9, 20]);
  });

  test('no values: a RangeError', () => {
    assert.throws(() => quantile([], 0.5), RangeError);
  });
});

describe('cleanup', () => {
  test('undoes everything, newest first, also after a failure', async () => {
    const done: string[] = [];
    const cleanup = createCleanup();
    cleanup.after(async () => done.push('first'));
    cleanup.after(async () => {
      throw new Error('will not end');
    });
    cleanup.after(async () => done.push('last'));
    await assert.rejects(cleanup.run(), /will not end/);
    assert.deepEqual(done, ['last', 'first']);
  });

  test('what is started after the end is undone at once', async () => {
    const done: string[] = [];
    const cleanup = createCleanup();
    await cleanup.run();
    cleanup.after(async () => done.push('late'));
    assert.deepEqual(done, ['late']);
  });
});
