import type { AgentReport, CheckReport, LeaseReport } from '../../src/http/agent-report.ts';
import { sampleRecord } from './sample-record.ts';

export function sampleLease(overrides: Partial<LeaseReport> = {}): LeaseReport {
  return {
    store: 'etcd://10.0.0.1:2379',
    state: 'held',
    reason: 'the next heartbeat is due in 8 s',
    believedGood: true,
    ttlMs: 30_000,
    lastBeatAgeMs: 1_999.6,
    lastError: null,
    counts: { registrations: 1, losses: 0, beats: 12, failedBeats: 3, recordWrites: 2, storeErrors: 4 },
    ...overrides,
  };
}

export function sampleCheck(overrides: Partial<CheckReport> = {}): CheckReport {
  return {
    name: 'ecs-agent',
    status: 'warning',
    reason: 'no answer',
    since: '2026-01-01T00:00:00.000Z',
    published: true,
    ageMs: 2_000.7,
    lastDurationMs: 3.4,
    looks: 12,
    failures: 5,
    ...overrides,
  };
}

/** A healthy, registered agent; `overrides` replace top-level fields. */
export function sampleReport(overrides: Partial<AgentReport> = {}): AgentReport {
  return {
    version: '0.1.0',
    session: 'session-a',
    startedAt: '2026-01-01T00:00:00.000Z',
    record: sampleRecord(),
    lease: sampleLease(),
    checks: [sampleCheck()],
    interruption: null,
    drain: null,
    ecsAttributes: null,
    sources: [
      { name: 'imds', ageMs: 1_500.4, lastError: null, lastDurationMs: 12.5, reads: 10, failures: 1 },
      { name: 'introspection', ageMs: null, lastError: 'refused', lastDurationMs: null, reads: 7, failures: 7 },
    ],
    loops: [{ name: 'publisher', ageMs: 400.2, limitMs: 60_000 }],
    ...overrides,
  };
}
