import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeSkew, onEc2Clock, publishedSkew } from '../../src/record/node-clock.ts';

const MINUTE_MS = 60_000;

test('a difference is published from a minute on, in whole minutes, and not anew for each second', () => {
  assert.equal(publishedSkew(null, null), null);
  assert.equal(publishedSkew(null, 59_000), 0);
  assert.equal(publishedSkew(null, -60 * MINUTE_MS - 400), -3_600);
  const published = new Set<number | null>();
  let before: number | null = null;
  for (let second = 0; second < 600; second += 1) {
    before = publishedSkew(before, 89_000 + (second % 3) * 1_000);
    published.add(before);
  }
  assert.equal(published.size, 1);
  // A clock that was set right is known to be right, and one that cannot be compared any more stays as it was.
  assert.equal(publishedSkew(-3_600, -200), 0);
  assert.equal(publishedSkew(-3_600, null), -3_600);
  assert.equal(publishedSkew(0, 61_000), 60);
});

test('an instant of the node is brought to the shared clock, or to none', () => {
  const at = '2026-01-01T11:00:00.000Z';
  assert.equal(onEc2Clock({ clockSkewSeconds: -3_600 }, at), '2026-01-01T12:00:00.000Z');
  assert.equal(onEc2Clock({ clockSkewSeconds: 0 }, at), at);
  assert.equal(onEc2Clock({ clockSkewSeconds: null }, at), null);
  assert.equal(onEc2Clock({ clockSkewSeconds: 0 }, 'once'), null);
  // An instant that no date can hold is not known.
  assert.equal(onEc2Clock({ clockSkewSeconds: -60 }, '+275760-09-13T00:00:00.000Z'), null);
  assert.equal(onEc2Clock({ clockSkewSeconds: 60 }, '-271821-04-20T00:00:00.000Z'), null);
  assert.equal(onEc2Clock({ clockSkewSeconds: Number.MAX_SAFE_INTEGER }, at), null);
});

test('a difference is described with its node and direction', () => {
  const skew = (clockSkewSeconds: number | null) => describeSkew({ ec2InstanceId: 'i-12345678', clockSkewSeconds });
  assert.deepEqual([skew(null), skew(0)], [null, null]);
  assert.equal(skew(-3_600), "the clock of i-12345678 is 60 min behind EC2's");
  assert.equal(skew(120), "the clock of i-12345678 is 2 min ahead of EC2's");
});
