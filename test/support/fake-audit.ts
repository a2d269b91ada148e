import type { AuditReport } from '../../src/audit/audit-report.ts';
import type { Disconnected } from '../../src/audit/fleet-audit/connections.ts';
import type { AuditSummary } from '../../src/audit/fleet-audit/documents.ts';
import type { Audit } from '../../src/audit/fleet-audit/fleet.ts';
import { emptyAuditMemory } from '../../src/audit/history.ts';
import type { Clock } from '../../src/lib/clock.ts';

export function sampleAuditReport(overrides: Partial<AuditReport> = {}): AuditReport {
  return {
    schemaVersion: 1,
    clusters: ['demo'],
    startedAt: '2026-01-01T00:00:00.000Z',
    finishedAt: '2026-01-01T00:00:30.000Z',
    revision: '7',
    agreeing: 20,
    elsewhere: 0,
    differences: [
      {
        kind: 'ghost',
        instanceId: 'i-0000000a',
        cluster: 'demo',
        containerInstanceArn: 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/a',
        privateIpAddress: null,
        since: null,
        reason: 'never on the roll',
      },
    ],
    notes: [],
    ...overrides,
  };
}

const by = { session: 's', instanceId: 'i-1' };
const differences = { ghost: 1, stray: 0, disconnected: 0, mismatch: 0 };

/** Of an audit that ended at this instant, in milliseconds since the epoch. */
export function sampleSummary(endedAtMs: number, overrides: Partial<AuditSummary> = {}): AuditSummary {
  const endedAt = new Date(endedAtMs).toISOString();
  const result = {
    by,
    startedAt: endedAt,
    finishedAt: endedAt,
    revision: '7',
    clusters: 1,
    agreeing: 5,
    elsewhere: 0,
    undecided: 0,
  };
  const lastRun = { by, endedAt, error: null };
  return { intervalMs: 300_000, lastRun, result: { ...result, differences }, ...overrides };
}

/** An audit that takes `durationMs` and finds what its options say. */
export interface FakeAudit extends Audit {
  runs: number;
  running: number;
  releases: number;
  error: Error | null;
  report: Partial<AuditReport>;
  /** What each run was given to go on with. */
  readonly memories: unknown[];
  disconnectedNow: readonly Disconnected[];
}

export function fakeAudit(clock: Clock, durationMs: number): FakeAudit {
  const audit: FakeAudit = {
    runs: 0,
    running: 0,
    releases: 0,
    error: null,
    report: {},
    memories: [],
    disconnectedNow: [],
    run: async (memory, signal) => {
      const startedAt = new Date(clock.wallMs()).toISOString();
      audit.runs += 1;
      audit.running += 1;
      audit.memories.push(memory);
      try {
        await clock.sleep(durationMs, signal);
        if (audit.error) throw audit.error;
        const finishedAt = new Date(clock.wallMs()).toISOString();
        const sighting = { firstAt: startedAt, lastAt: finishedAt, audits: audit.runs };
        const report = sampleAuditReport({ startedAt, finishedAt, ...audit.report });
        return { report, memory: { ...emptyAuditMemory, sightings: { ghost: sighting } } };
      } finally {
        audit.running -= 1;
      }
    },
    disconnected: async () => ({ clusters: ['demo'], disconnected: audit.disconnectedNow, gone: [] }),
    release: () => {
      audit.releases += 1;
    },
  };
  return audit;
}
