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
    ['1.5m', 90_000],
    ['1m30s', 90_000],
    ['1d2h3m4s5ms', 93_784_005],
    ['2m500ms', 120_500],
  ] as const) {
    assert.equal(parseDuration(text), ms);
  }
  for (const bad of ['', '5', 's', '5 s', '-5s', '5w', '1e3s', '5s5', '30s1m', '1m1m', '1m 30s', '.5s', 'm'])
    assert.equal(parseDuration(bad), undefined);
});

test('reads what it writes', () => {
  for (const ms of [7, 1_000, 61_000, 3_660_000, 90_000_000, 86_400_000])
    assert.equal(parseDuration(formatDuration(ms)), ms, formatDuration(ms));
});

test('writes at most two units', () => {
  assert.equal(formatDuration(0), '0ms');
  assert.equal(formatDuration(192_000), '3m12s');
  assert.equal(formatDuration(86_400_000), '1d');
  assert.equal(formatDuration(90_061_000), '1d1h');
});
