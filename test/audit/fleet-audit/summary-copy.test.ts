import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeAuditSummary } from '../../../src/audit/fleet-audit/documents.ts';
import { ageMs, updateCopy } from '../../../src/audit/fleet-audit/summary-copy.ts';
import { sampleSummary } from '../../support/fake-audit.ts';

const WALL_MS = Date.parse('2026-01-01T01:00:00Z');
const HOUR_MS = 3_600_000;
const at = (ms: number) => ({ nowMs: ms, wallMs: WALL_MS + ms });

test('a summary that was there before the first read is as old as the clocks say, and one that comes later is new', () => {
  const first = updateCopy(null, encodeAuditSummary(sampleSummary(WALL_MS - 10_000)), at(0));
  assert.ok(first.result);
  assert.equal(ageMs(first.result, 500), 10_500);
  // The writer's clock is an hour behind.
  const second = updateCopy(first, encodeAuditSummary(sampleSummary(WALL_MS - HOUR_MS)), at(60_000));
  assert.ok(second.result);
  assert.equal(ageMs(second.result, 61_000), 1_000);
  // And this one's an hour ahead.
  const ahead = updateCopy(null, encodeAuditSummary(sampleSummary(WALL_MS + HOUR_MS)), at(0));
  assert.ok(ahead.result);
  assert.equal(ageMs(ahead.result, 0), 0);
});

test('an audit that failed renews the age of the last run and not that of the result', () => {
  const good = sampleSummary(WALL_MS - 10_000);
  const first = updateCopy(null, encodeAuditSummary(good), at(0));
  const lastRun = { ...good.lastRun, endedAt: new Date(WALL_MS + 5_000).toISOString(), error: 'denied' };
  const second = updateCopy(first, encodeAuditSummary({ ...good, lastRun }), at(6_000));
  assert.ok(second.result && second.lastRun);
  assert.deepEqual([ageMs(second.result, 6_000), ageMs(second.lastRun, 6_000)], [16_000, 0]);
});
