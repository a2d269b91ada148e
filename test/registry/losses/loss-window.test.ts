import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countTold, withTold } from '../../../src/registry/mass-loss.ts';

const none: ReadonlyMap<number, number> = new Map();

test('a told loss is recent until a TTL after it was seen, to a quarter of a second', () => {
  const told = withTold(withTold(none, [30_000, 30_000], 0), [30_100, 40_000], 5_000);
  assert.equal(countTold(told, 5_000), 4);
  assert.equal(countTold(told, 29_999), 4);
  assert.equal(countTold(told, 30_250), 1);
  assert.equal(countTold(told, 40_000), 0);
});

test('a loss that was held for its TTL before it was told is not recent', () => {
  assert.equal(countTold(withTold(none, [30_005, 29_000], 30_010), 30_010), 0);
});

test('what is remembered does not grow with the number of losses', () => {
  let told = none;
  for (let atMs = 0; atMs < 300_000; atMs += 10) told = withTold(told, [atMs + 30_000, atMs + 30_000], atMs);
  assert.ok(told.size <= 121, `${told.size} instants`);
  assert.ok(Math.abs(countTold(told, 300_000) - 6_000) <= 60);
  const spread = Array.from({ length: 30_000 }, (_, n) => 1_000 + n * 250);
  assert.equal(withTold(none, spread, 0).size, 10_000);
});
