import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AuditSummary, decodeSummary, encodeSummary } from '../../../src/audit/fleet-audit/documents.ts';
import { type AuditorState, ageMs, heed, initialAuditorState } from '../../../src/audit/fleet-audit/plan.ts';
import { auditStatus } from '../../../src/audit/fleet-audit/status.ts';

const WALL = Date.parse('2026-01-01T01:00:00Z');
const HOUR_MS = 3_600_000;
const at = (ms: number) => ({ monotonicMs: ms, wallMs: WALL + ms });
const by = { session: 's', instanceId: 'i-1' };
const self = { session: 'me', instanceId: null };
const counts = { ghost: 1, stray: 0, disconnected: 0, mismatch: 0 };

function summary(endedMs: number, overrides: Partial<AuditSummary> = {}): AuditSummary {
  const endedAt = new Date(WALL + endedMs).toISOString();
  const result = { by, startedAt: endedAt, finishedAt: endedAt, revision: '7', clusters: 1, agreeing: 5, elsewhere: 0 };
  const lastRun = { by, endedAt, error: null };
  return { intervalMs: 300_000, lastRun, result: { ...result, differences: counts }, ...overrides };
}

test('a summary comes back as it was written, and what is none says why', () => {
  const whole = summary(0);
  assert.deepEqual(decodeSummary(encodeSummary(whole)), { ok: true, value: whole });
  const without = summary(0, { result: null });
  assert.deepEqual(decodeSummary(encodeSummary(without)), { ok: true, value: without });
  for (const text of [
    '',
    'null',
    '[]',
    '{}',
    '{"schemaVersion":2}',
    encodeSummary(whole).replace('"ghost":1', '"ghost":"1"'),
  ]) {
    assert.equal(decodeSummary(text).ok, false, text);
  }
});

test('what was there before us is as old as the clocks say, and what comes later is new', () => {
  const first = heed(null, encodeSummary(summary(-10_000)), at(0));
  assert.ok(first.result);
  assert.equal(ageMs(first.result, 500), 10_500);
  // The writer's clock is an hour behind.
  const second = heed(first, encodeSummary(summary(-HOUR_MS)), at(60_000));
  assert.ok(second.result);
  assert.equal(ageMs(second.result, 61_000), 1_000);
  // And this one's an hour ahead.
  const ahead = heed(null, encodeSummary(summary(HOUR_MS)), at(0));
  assert.ok(ahead.result);
  assert.equal(ageMs(ahead.result, 0), 0);
});

test('a run that failed renews the run’s age and not the result’s', () => {
  const good = summary(-10_000);
  const first = heed(null, encodeSummary(good), at(0));
  const lastRun = { by, endedAt: new Date(WALL + 5_000).toISOString(), error: 'denied' };
  const second = heed(first, encodeSummary({ ...good, lastRun }), at(6_000));
  assert.ok(second.result && second.run);
  assert.deepEqual([ageMs(second.result, 6_000), ageMs(second.run, 6_000)], [16_000, 0]);
});

test('a result is stale after two intervals and a TTL, with the cause that is known', () => {
  const news = heed(null, encodeSummary(summary(0)), at(0));
  const state = { ...initialAuditorState, broken: null, news, holder: { session: 's', instanceId: 'i-1' } };
  assert.deepEqual(
    [630_000, 630_001].map((nowMs) => auditStatus(state, nowMs, self, 30_000).stale),
    [false, true],
  );
  const reason = (more: Partial<AuditorState>) => auditStatus({ ...state, ...more }, 700_000, self, 30_000).staleReason;
  assert.equal(reason({}), 'the last result is 11m40s old, more than 10m30s: i-1 is in charge and has not delivered');
  assert.match(reason({ holder: null }) ?? '', /nobody leads yet$/);
  assert.match(reason({ lastError: 'connection refused' }) ?? '', /the store: connection refused$/);
  assert.match(reason({ news: heed(null, '{}', at(0)) }) ?? '', /^no audit has come to a result: .* cannot be read/);
  assert.match(reason({ news: null }) ?? '', /the store has not been read yet$/);
});
