import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeAuditSummary } from '../../../src/audit/fleet-audit/documents.ts';
import { applyAudit, applyAuditFailure, auditFailure } from '../../../src/audit/fleet-audit/fleet-audit-apply.ts';
import {
  type AuditorState,
  initialAuditorState,
  type Leadership,
} from '../../../src/audit/fleet-audit/fleet-audit-plan.ts';
import { emptyAuditMemory, encodeMemory } from '../../../src/audit/history.ts';
import { EcsError } from '../../../src/ecs/ecs-errors.ts';
import { DeadlineError } from '../../../src/lib/deadline.ts';
import { StoreError } from '../../../src/store/store-errors.ts';
import { sampleSummary } from '../../support/fake-audit.ts';

const SENT_MS = 1_000_000;
const NOW_MS = SENT_MS + 100;
const WALL_MS = Date.parse('2026-01-01T01:00:00Z');
const TTL_MS = 30_000;
const INTERVAL_MS = 86_400_000;
const end = { sentAtMs: SENT_MS, nowMs: NOW_MS, wallMs: WALL_MS, random: 0.5 };
const reason = 'r';
const other = { session: 'other', instanceId: 'i-other' };
const term = { lock: 'audit', session: 'me', ttlMs: 15_000, revision: '5', value: 'v', lease: '1' };
const leadership: Leadership = {
  term,
  confirmedAtMs: 0,
  nextRenewAtMs: 0,
  memory: emptyAuditMemory,
  stored: { details: null, memory: null, differences: new Map() },
};
const initial = initialAuditorState(TTL_MS, INTERVAL_MS);
const leading: AuditorState = { ...initial, leadership };
const noDifferences = { wanted: new Map(), undecided: new Set<string>() };
const found = { details: 'd', memoryText: 'm', memory: emptyAuditMemory, differences: noDifferences };
const read = { action: 'read', reason } as const;
const campaign = { action: 'campaign', reason } as const;
const renew = { action: 'renew', term, reason } as const;
const resign = { action: 'resign', term, abstain: false, reason } as const;
const failedAt = (state: AuditorState, call: Parameters<typeof applyAuditFailure>[1]) =>
  applyAuditFailure(state, call, new Error('refused'), end);
const view = (...documents: (string | null)[]) => ({ revision: '8', holder: other, documents });

test('a read gives the leader and the summary, and is repeated each third of the TTL, up to a tenth of it early', () => {
  const summary = sampleSummary(WALL_MS - 5_000);
  const { holder, copy, nextReadAtMs } = applyAudit.read(initial, read, view(encodeAuditSummary(summary)), end);
  assert.deepEqual([holder, copy?.summary, nextReadAtMs], [other, summary, NOW_MS + 9_500]);
});

test('of a term that is won only the time of the request is certain: it is renewed at once', () => {
  assert.deepEqual(applyAudit.campaign(initial, campaign, { kind: 'taken', by: other }, end).holder, other);
  const won = applyAudit.campaign(initial, campaign, { kind: 'elected', term }, end);
  assert.deepEqual(won.leadership, { ...leadership, confirmedAtMs: SENT_MS, nextRenewAtMs: SENT_MS, memory: null });
  assert.equal(won.counts.elections, 1);
  const renewed = applyAudit.renew(won, renew, 'renewed', end).leadership;
  assert.deepEqual([renewed?.confirmedAtMs, renewed?.nextRenewAtMs], [SENT_MS, SENT_MS + 4_750]);
});

test('only the success of the call that failed ends the trouble, or the end of the leadership', () => {
  const publish = { action: 'publish', term, documents: { summary: '{}' }, differences: {}, reason } as const;
  const failing = failedAt(leading, publish);
  assert.deepEqual(
    [failing.trouble.error, failing.trouble.action, failing.trouble.retryAtMs],
    ['refused', 'publish', NOW_MS + 250],
  );
  assert.equal(applyAudit.renew(failing, renew, 'renewed', end).trouble, failing.trouble);
  const published = applyAudit.publish(failing, publish, { kind: 'published', revision: '9' }, end);
  assert.deepEqual(published.trouble, initial.trouble);
  for (const over of [
    applyAudit.renew(failing, renew, 'lost', end),
    applyAudit.publish(failing, publish, { kind: 'lost', by: null }, end),
    applyAudit.resign(failing, resign, undefined, end),
    applyAudit['step-down'](failing, { action: 'step-down', reason }, undefined, end),
  ]) {
    assert.deepEqual([over.leadership, over.trouble, over.nextReadAtMs], [null, initial.trouble, NOW_MS]);
  }
  assert.deepEqual(applyAudit.read(failing, read, view(null), end).trouble, initial.trouble);
  let often = failing;
  for (let tries = 0; tries < 9; tries += 1) often = failedAt(often, publish);
  assert.equal(often.trouble.retryAtMs, NOW_MS + TTL_MS / 12, 'no longer than between two renewals');
});

test('a new leader goes on with the memory, and audits an interval after the last audit began here or elsewhere', () => {
  const readMemory = { action: 'read-memory', term, reason } as const;
  const after = (...documents: (string | null)[]) =>
    applyAudit['read-memory'](leading, readMemory, { ...view(...documents), differences: new Map([['k', 'v']]) }, end);
  const first = after(null, null, null);
  assert.deepEqual(
    [first.nextRunAtMs, first.leadership?.memory],
    [NOW_MS + TTL_MS, emptyAuditMemory],
    'a fleet that starts',
  );
  const good = sampleSummary(WALL_MS - 60_000);
  const at = good.result?.finishedAt ?? '';
  const memory = { sightings: { 'ghost x': { firstAt: at, lastAt: at, audits: 1 } } };
  const taken = after(encodeAuditSummary(good), 'd', encodeMemory(memory));
  assert.deepEqual([taken.nextRunAtMs, taken.leadership?.memory], [NOW_MS + INTERVAL_MS - 60_000, memory]);
  assert.deepEqual(taken.leadership?.stored, {
    details: 'd',
    memory: encodeMemory(memory),
    differences: new Map([['k', 'v']]),
  });
  const failed = { ...good, lastRun: { ...good.lastRun, error: 'denied' } };
  assert.equal(after(encodeAuditSummary(failed), null, null).nextRunAtMs, NOW_MS + 300_000 - 60_000);
});

test('an audit that failed is repeated sooner than the next is due, and counted unless the store failed', () => {
  const run = { action: 'run', memory: emptyAuditMemory, last: null, reason } as const;
  const begun = applyAudit.run(leading, run, undefined, end);
  assert.deepEqual([begun.nextRunAtMs, begun.run], [NOW_MS + INTERVAL_MS, { kind: 'running' }]);
  const collect = (state: AuditorState, error: unknown, publication: { summary: string; found: typeof found | null }) =>
    applyAudit.collect(state, { action: 'collect', publication, error, reason }, undefined, end);
  const failure = { summary: '', found: null };
  const late = collect(begun, new DeadlineError('audit', 1), failure);
  assert.deepEqual([late.nextRunAtMs, late.failedRuns, late.counts.failures.late], [NOW_MS + 300_000, 1, 1]);
  assert.deepEqual(late.run, { kind: 'ended', publication: failure });
  assert.equal(collect({ ...begun, intervalMs: 60_000 }, new Error('x'), failure).nextRunAtMs, NOW_MS + 60_000);
  assert.equal(collect(begun, new StoreError('x', { retryable: true }), failure).failedRuns, 0);
  const good = collect(late, null, { summary: '', found });
  assert.deepEqual([good.failedRuns, good.counts.results], [0, 1]);
});

test('what the store took is what it has; a result that it refused is counted, and the leadership is over', () => {
  const summary = encodeAuditSummary(sampleSummary(WALL_MS));
  const ended: AuditorState = { ...leading, run: { kind: 'ended', publication: { summary, found } } };
  const publish = {
    action: 'publish',
    term,
    documents: { summary, details: 'd' },
    differences: { a: '1' },
    reason,
  } as const;
  const after = applyAudit.publish(ended, publish, { kind: 'published', revision: '9' }, end);
  assert.deepEqual(after.leadership?.stored, { details: 'd', memory: 'm', differences: new Map([['a', '1']]) });
  assert.deepEqual([after.run, after.copy?.text], [{ kind: 'idle' }, summary]);
  const refused = applyAudit.publish(ended, publish, { kind: 'lost', by: other }, end);
  assert.deepEqual([refused.leadership, refused.run, refused.counts.refused], [null, { kind: 'idle' }, 1]);
});

test('a leader that resigned because it could not ask ECS lets other agents go first, for a TTL', () => {
  const resigned = (abstain: boolean) => applyAudit.resign(leading, { ...resign, abstain }, undefined, end);
  assert.equal(resigned(true).abstainUntilMs, NOW_MS + TTL_MS);
  assert.ok(resigned(false).abstainUntilMs < NOW_MS);
});

test('each cause of a failure has a name', () => {
  const ecs = (code: string) => auditFailure(new EcsError('m', { code, retryable: false }));
  assert.deepEqual(
    [
      ecs('AccessDeniedException'),
      ecs('ExpiredTokenException'),
      ecs('NoCredentials'),
      ecs('ThrottlingException'),
      ecs('ClusterNotFoundException'),
      auditFailure(new StoreError('m', { retryable: true })),
      auditFailure(new DeadlineError('audit', 1)),
      auditFailure(new Error('m')),
    ],
    ['denied', 'credentials', 'credentials', 'throttled', 'ecs', 'store', 'late', 'other'],
  );
});
