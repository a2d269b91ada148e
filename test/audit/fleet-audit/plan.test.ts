import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type AuditSummary, decodeSummary, encodeSummary } from '../../../src/audit/fleet-audit/documents.ts';
import {
  type AuditorState,
  ageMs,
  heed,
  initialAuditorState,
  planAudit,
  type Tenure,
} from '../../../src/audit/fleet-audit/plan.ts';
import { auditStatus } from '../../../src/audit/fleet-audit/status.ts';
import { emptyAuditMemory } from '../../../src/audit/history.ts';

describe('audit news', () => {
  const WALL = Date.parse('2026-01-01T01:00:00Z');
  const HOUR_MS = 3_600_000;
  const at = (ms: number) => ({ monotonicMs: ms, wallMs: WALL + ms });
  const by = { session: 's', instanceId: 'i-1' };
  const self = { session: 'me', instanceId: null };
  const counts = { ghost: 1, stray: 0, disconnected: 0, mismatch: 0 };

  function summary(endedMs: number, overrides: Partial<AuditSummary> = {}): AuditSummary {
    const endedAt = new Date(WALL + endedMs).toISOString();
    const result = {
      by,
      startedAt: endedAt,
      finishedAt: endedAt,
      revision: '7',
      clusters: 1,
      agreeing: 5,
      elsewhere: 0,
    };
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
    const reason = (more: Partial<AuditorState>) =>
      auditStatus({ ...state, ...more }, 700_000, self, 30_000).staleReason;
    assert.equal(reason({}), 'the last result is 11m40s old, more than 10m30s: i-1 is in charge and has not delivered');
    assert.match(reason({ holder: null }) ?? '', /nobody leads yet$/);
    assert.match(reason({ lastError: 'connection refused' }) ?? '', /the store: connection refused$/);
    assert.match(reason({ news: heed(null, '{}', at(0)) }) ?? '', /^no audit has come to a result: .* cannot be read/);
    assert.match(reason({ news: null }) ?? '', /the store has not been read yet$/);
  });
});

describe('plan', () => {
  const NOW = 1_000_000;
  const TTL = 30_000;
  const input = { leaving: false, session: 'me', instanceId: 'i-me' as string | null, ttlMs: TTL };
  const tenure: Tenure = {
    reign: { lock: 'audit', session: 'me', ttlMs: 15_000, revision: '5', lease: '1' },
    confirmedAtMs: NOW - 1_000,
    nextRenewAtMs: NOW + 4_000,
    memory: emptyAuditMemory,
    stored: { details: null, memory: null },
  };
  const following: AuditorState = {
    ...initialAuditorState,
    holder: { session: 'other', instanceId: 'i-other' },
    nextLookAtMs: NOW + 7_000,
  };
  const leading: AuditorState = { ...initialAuditorState, tenure, nextRunAtMs: NOW + 60_000 };
  const publication = { summary: '{}', found: null };
  const failed = { retryAtMs: NOW + 300, lastError: 'connection refused' };
  const waits = (untilMs: number) => ({ action: 'wait', untilMs });

  const table: readonly (readonly [string, AuditorState, Partial<typeof input>, object])[] = [
    ['a new agent looks first', initialAuditorState, {}, { action: 'look' }],
    ['it waits while another leads', following, {}, waits(NOW + 7_000)],
    ['it looks when that is due', { ...following, nextLookAtMs: NOW }, {}, { action: 'look' }],
    ['it campaigns for a vacant office', { ...following, holder: null }, {}, { action: 'campaign' }],
    ['it does not before it knows who it is', { ...following, holder: null }, { instanceId: null }, waits(NOW + 7_000)],
    [
      'it goes on with its own reign',
      { ...following, holder: { session: 'me', instanceId: null } },
      {},
      { action: 'campaign' },
    ],
    [
      'it does not campaign when leaving',
      { ...following, holder: null, nextLookAtMs: 0 },
      { leaving: true },
      waits(NOW + 10_000),
    ],
    ['a failure is waited for', { ...following, holder: null, ...failed }, {}, waits(NOW + 300)],
    ['a leader waits for its renewal', leading, {}, waits(NOW + 4_000)],
    [
      'renewing goes before all else',
      { ...leading, tenure: { ...tenure, nextRenewAtMs: NOW }, run: { kind: 'ended', publication }, nextRunAtMs: NOW },
      {},
      { action: 'renew' },
    ],
    [
      'a leader first reads what was left',
      { ...leading, tenure: { ...tenure, memory: null }, nextRunAtMs: 0 },
      {},
      { action: 'recall' },
    ],
    [
      'a leader whose audits fail gives way, once that is told',
      { ...leading, failedRuns: 3, nextRunAtMs: NOW },
      {},
      { action: 'resign' },
    ],
    [
      'what failed is told first',
      { ...leading, failedRuns: 3, run: { kind: 'ended', publication } },
      {},
      { action: 'publish' },
    ],
    ['and lets others go first', { ...following, holder: null, abstainUntilMs: NOW + 2_000 }, {}, waits(NOW + 2_000)],
    ['but not for ever', { ...following, holder: null, abstainUntilMs: NOW }, {}, { action: 'campaign' }],
    ['it runs the audit that is due', { ...leading, nextRunAtMs: NOW }, {}, { action: 'run' }],
    [
      'one at a time',
      { ...leading, nextRunAtMs: NOW, run: { kind: 'running', startedAtMs: 0 } },
      {},
      waits(NOW + 4_000),
    ],
    ['it publishes what ended', { ...leading, run: { kind: 'ended', publication } }, {}, { action: 'publish' }],
    [
      'it publishes nothing while it waits for a store',
      { ...leading, run: { kind: 'ended', publication }, ...failed },
      {},
      waits(NOW + 300),
    ],
    [
      'it publishes nothing after its lease',
      { ...leading, run: { kind: 'ended', publication }, tenure: { ...tenure, confirmedAtMs: NOW - 15_000 } },
      {},
      { action: 'step-down' },
    ],
    [
      'a failure does not keep it from stepping down',
      { ...leading, ...failed, tenure: { ...tenure, confirmedAtMs: NOW - 15_000 } },
      {},
      { action: 'step-down' },
    ],
    [
      'no wait goes past the end of its lease',
      { ...leading, tenure: { ...tenure, confirmedAtMs: NOW - 14_900 } },
      {},
      waits(NOW + 100),
    ],
    ['it resigns when it leaves', leading, { leaving: true }, { action: 'resign' }],
    ['once only', { ...leading, failedAction: 'resign', ...failed }, { leaving: true }, waits(NOW + 10_000)],
  ];

  for (const [title, state, more, expected] of table) {
    test(title, () => {
      const step = planAudit(state, NOW, { ...input, ...more });
      assert.ok(step.reason.length > 0);
      assert.deepEqual({ ...step, reason: '' }, { ...expected, reason: '' });
    });
  }
});
