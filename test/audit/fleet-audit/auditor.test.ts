import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuditor } from '../../../src/audit/fleet-audit/auditor.ts';
import { type AuditSummary, encodeAuditSummary, encodeDetails } from '../../../src/audit/fleet-audit/documents.ts';
import { createCell } from '../../../src/lib/cell.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import type { LeaderLocks } from '../../../src/store/leader-lock.ts';
import { fakeAudit } from '../../support/fake-audit.ts';

const { signal } = new AbortController();

test('a report that is read before the loop has read it is in the status', async () => {
  const by = { session: 'leader', instanceId: 'i-1' };
  const finishedAt = new Date(systemClock.wallMs()).toISOString();
  const differences = { ghost: 0, stray: 0, disconnected: 0, mismatch: 0 };
  const summary: AuditSummary = {
    intervalMs: 60_000,
    lastRun: { by, endedAt: finishedAt, error: null },
    result: {
      by,
      startedAt: finishedAt,
      finishedAt,
      revision: '7',
      clusters: 1,
      agreeing: 5,
      elsewhere: 0,
      undecided: 0,
      differences,
    },
  };
  const documents = [
    encodeAuditSummary(summary),
    encodeDetails({ clusters: ['demo'], differences: [], notes: [], omitted: {} }),
  ];
  const options = {
    locks: { read: async () => ({ revision: '8', holder: by, documents }) } as unknown as LeaderLocks,
    audit: fakeAudit(systemClock, 0),
    clock: systemClock,
    random: () => 0.5,
    session: 'me',
    instanceId: () => 'i-2',
    ttlMs: 30_000,
    intervalMs: 60_000,
    leaving: createCell(false),
    onStep: () => {},
  };
  const auditor = createAuditor(options, () => {});
  assert.match(auditor.status().staleReason ?? '', /^no audit has succeeded yet/);
  assert.equal((await auditor.read(signal)).report?.agreeing, 5);
  const { stale, staleReason, ageMs } = auditor.status();
  assert.deepEqual([stale, staleReason], [false, null]);
  assert.ok(ageMs !== null && ageMs < 60_000);
});
