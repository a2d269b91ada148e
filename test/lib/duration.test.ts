import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration, parseDuration } from '../../src/lib/duration.ts';

test('reads the units it writes', () => {
  for (const [text, ms] of [
    ['250ms', 250],
    ['30s', 30_000],
    ['5m', 300_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
  ] as const) {
    assert.equal(parseDuration(text), ms);
  }
  for (const bad of ['', '5', 's', '5 s', '-5s', '5w', '1e3s', '5s5']) assert.equal(parseDuration(bad), undefined);
});

test('writes at most two units', () => {
  assert.equal(formatDuration(0), '0ms');
  assert.equal(formatDuration(192_000), '3m12s');
  assert.equal(formatDuration(86_400_000), '1d');
  assert.equal(formatDuration(90_061_000), '1d1h');
});
