import type { AgentReport, LeaseReport, SourceReport } from '../http/agent-report.ts';
import type { LoopAge } from '../lifecycle/loop-monitor.ts';
import { leaseOverdue } from '../publisher/plan.ts';
import type { PublisherState } from '../publisher/publisher-state.ts';
import type { Step } from '../publisher/step.ts';
import type { CheckVerdict, NodeRecord } from '../record/record.ts';
import type { SourceStatus } from '../sources/poll-source.ts';
import type { NodeIdentity } from './node-state.ts';

/** What the report is made of; instants of `publisher` and `sources` are on the monotonic clock, as is `nowMs`. */
export interface ReportParts {
  readonly identity: NodeIdentity;
  readonly storeLabel: string;
  readonly ttlMs: number;
  readonly record: NodeRecord | null;
  /** Also while there is no record yet. */
  readonly checks: readonly CheckVerdict[];
  readonly publisher: PublisherState;
  readonly step: Step;
  readonly sources: readonly SourceStatus[];
  readonly loops: readonly LoopAge[];
  readonly nowMs: number;
}

/** The agent's view of itself at `nowMs`; pure. */
export function buildReport(parts: ReportParts): AgentReport {
  const { identity, record, nowMs } = parts;
  return {
    version: identity.version,
    session: identity.session,
    startedAt: identity.startedAt,
    record,
    lease: leaseReport(parts),
    checks: parts.checks,
    sources: parts.sources.map((source) => sourceReport(source, nowMs)),
    loops: parts.loops,
  };
}

function leaseReport({ publisher, step, storeLabel, ttlMs, nowMs }: ReportParts): LeaseReport {
  const overdue = publisher.phase === 'held' && leaseOverdue(publisher, nowMs);
  const phase = overdue ? 'lost' : publisher.phase;
  const beaten = Number.isFinite(publisher.beatAtMs);
  return {
    store: storeLabel,
    state: phase,
    reason: step.reason,
    believedGood: phase === 'held',
    ttlMs: publisher.hold?.ttlMs ?? ttlMs,
    lastBeatAgeMs: beaten ? nowMs - publisher.beatAtMs : null,
    lastError: publisher.lastError,
    counts: publisher.counts,
  };
}

function sourceReport(source: SourceStatus, nowMs: number): SourceReport {
  const { name, lastSuccessAtMs, lastError, lastDurationMs, reads, failures } = source;
  const ageMs = lastSuccessAtMs === null ? null : nowMs - lastSuccessAtMs;
  return { name, ageMs, lastError, lastDurationMs, reads, failures };
}
