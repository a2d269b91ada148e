import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type AuditEnd,
  type AuditorState,
  initialAuditorState,
  type Leadership,
  planAudit,
} from '../../../src/audit/fleet-audit/fleet-audit-plan.ts';
import { emptyAuditMemory } from '../../../src/audit/history.ts';

const NOW = 1_000_000;
const TTL = 30_000;
const input = {
  ...{ leaving: false, session: 'me', instanceId: 'i-me' as string | null, ended: null as AuditEnd | null },
  failedPolls: 0,
};
const leadership: Leadership = {
  term: { lock: 'audit', session: 'me', ttlMs: 15_000, revision: '5', value: 'v', lease: '1' },
  confirmedAtMs: NOW - 1_000,
  nextRenewAtMs: NOW + 4_000,
  memory: emptyAuditMemory,
  stored: { details: null, memory: null, differences: new Map() },
};
const initial = initialAuditorState(TTL, 300_000);
const following: AuditorState = {
  ...initial,
  holder: { session: 'other', instanceId: 'i-other' },
  nextReadAtMs: NOW + 7_000,
};
const leading: AuditorState = { ...initial, leadership, nextRunAtMs: NOW + 60_000 };
const publication = { summary: '{}', found: null };
const running: AuditorState = { ...leading, run: { kind: 'running' } };
const failed = { trouble: { ...initial.trouble, retryAtMs: NOW + 300, error: 'connection refused' } };
const resignFailed: AuditorState = { ...leading, trouble: { ...failed.trouble, action: 'resign' } };
const waits = (untilMs: number) => ({ action: 'wait', untilMs });

const table: readonly (readonly [string, AuditorState, Partial<typeof input>, object])[] = [
  ['a new agent reads first', initial, {}, { action: 'read' }],
  ['it waits while another leads', following, {}, waits(NOW + 7_000)],
  ['it reads when that is due', { ...following, nextReadAtMs: NOW }, {}, { action: 'read' }],
  ['it campaigns for a leader lock that is free', { ...following, holder: null }, {}, { action: 'campaign' }],
  [
    'it does not before it knows its instance id',
    { ...following, holder: null },
    { instanceId: null },
    waits(NOW + 7_000),
  ],
  [
    'it goes on with its own term',
    { ...following, holder: { session: 'me', instanceId: null } },
    {},
    { action: 'campaign' },
  ],
  [
    'it does not campaign when leaving',
    { ...following, holder: null, nextReadAtMs: 0 },
    { leaving: true },
    waits(NOW + 10_000),
  ],
  ['a failure is waited for', { ...following, holder: null, ...failed }, {}, waits(NOW + 300)],
  ['a leader waits for its renewal', leading, {}, waits(NOW + 4_000)],
  [
    'renewing goes before all else',
    {
      ...leading,
      leadership: { ...leadership, nextRenewAtMs: NOW },
      run: { kind: 'ended', publication },
      nextRunAtMs: NOW,
    },
    {},
    { action: 'renew' },
  ],
  [
    'a leader first reads what earlier leaders remembered',
    { ...leading, leadership: { ...leadership, memory: null }, nextRunAtMs: 0 },
    {},
    { action: 'read-memory' },
  ],
  [
    'a leader whose audits fail resigns, once that is published',
    { ...leading, failedRuns: 3, nextRunAtMs: NOW },
    {},
    { action: 'resign' },
  ],
  [
    'a leader whose polls of ECS fail resigns, however far the next audit is',
    leading,
    { failedPolls: 5 },
    { action: 'resign' },
  ],
  ['not after a few', leading, { failedPolls: 4 }, waits(NOW + 4_000)],
  [
    'a failure is published first',
    { ...leading, failedRuns: 3, run: { kind: 'ended', publication } },
    {},
    { action: 'publish' },
  ],
  ['and lets others go first', { ...following, holder: null, abstainUntilMs: NOW + 2_000 }, {}, waits(NOW + 2_000)],
  ['but not for ever', { ...following, holder: null, abstainUntilMs: NOW }, {}, { action: 'campaign' }],
  ['it runs the audit that is due', { ...leading, nextRunAtMs: NOW }, {}, { action: 'run' }],
  ['one at a time', { ...leading, nextRunAtMs: NOW, run: { kind: 'running' } }, {}, waits(NOW + 4_000)],
  ['it publishes what ended', { ...leading, run: { kind: 'ended', publication } }, {}, { action: 'publish' }],
  [
    'it publishes nothing while it waits for a store',
    { ...leading, run: { kind: 'ended', publication }, ...failed },
    {},
    waits(NOW + 300),
  ],
  [
    'it publishes nothing after its lease',
    { ...leading, run: { kind: 'ended', publication }, leadership: { ...leadership, confirmedAtMs: NOW - 15_000 } },
    {},
    { action: 'step-down' },
  ],
  [
    'a failure does not keep it from stepping down',
    { ...leading, ...failed, leadership: { ...leadership, confirmedAtMs: NOW - 15_000 } },
    {},
    { action: 'step-down' },
  ],
  [
    'no wait goes past the end of its lease',
    { ...leading, leadership: { ...leadership, confirmedAtMs: NOW - 14_900 } },
    {},
    waits(NOW + 100),
  ],
  ['it resigns when it leaves', leading, { leaving: true }, { action: 'resign' }],
  ['once only', resignFailed, { leaving: true }, waits(NOW + 10_000)],
  ['it takes an audit that has ended', running, { ended: { publication, error: null } }, { action: 'collect' }],
];

for (const [title, state, more, expected] of table) {
  test(title, () => {
    const step = planAudit(state, NOW, { ...input, ...more });
    assert.ok(step.reason.length > 0);
    const { action } = step;
    assert.deepEqual(step.action === 'wait' ? { action, untilMs: step.untilMs } : { action }, expected);
  });
}
