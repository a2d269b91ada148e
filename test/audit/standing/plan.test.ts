import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AuditorState, initialAuditorState, planAudit, type Tenure } from '../../../src/audit/fleet-audit/plan.ts';
import { emptyAuditMemory } from '../../../src/audit/history.ts';

const NOW = 1_000_000;
const TTL = 30_000;
const input = { leaving: false, session: 'me', instanceId: 'i-me' as string | null, ttlMs: TTL };
const tenure: Tenure = {
  reign: { office: 'audit', session: 'me', ttlMs: 15_000, revision: '5', lease: '1' },
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
  ['one at a time', { ...leading, nextRunAtMs: NOW, run: { kind: 'running', startedAtMs: 0 } }, {}, waits(NOW + 4_000)],
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
