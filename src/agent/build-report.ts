import { checkVerdict } from '../checks/check-verdict.ts';
import type {
  AgentReport,
  AttributesReport,
  CheckReport,
  DrainReport,
  LeaseReport,
  SourceReport,
} from '../http/agent-report.ts';
import type { LoopAge } from '../lifecycle/loop-monitor.ts';
import { leaseOverdue } from '../publisher/plan.ts';
import type { PublisherState } from '../publisher/publisher-state.ts';
import type { Step } from '../publisher/step.ts';
import type { Interruption, NodeRecord } from '../record/record.ts';
import type { SourceStatus } from '../sources/poll-source.ts';
import type { WatchedCheck } from './check-looks.ts';
import type { NodeIdentity } from './node-state.ts';

/** What the report is made of; instants of `publisher`, `sources` and the looks at checks are on the monotonic clock, as is `nowMs`. */
export interface ReportParts {
  readonly identity: NodeIdentity;
  readonly storeLabel: string;
  readonly ttlMs: number;
  readonly record: NodeRecord | null;
  /** Also while there is no record yet. */
  readonly checks: readonly WatchedCheck[];
  readonly storeCheck: WatchedCheck | null;
  readonly interruption: Interruption | null;
  readonly publisher: PublisherState;
  readonly step: Step;
  readonly sources: readonly SourceStatus[];
  readonly drain: DrainReport | null;
  readonly ecsAttributes: AttributesReport | null;
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
    checks: [
      ...parts.checks.map((watched) => checkReport(watched, true, nowMs)),
      ...(parts.storeCheck ? [checkReport(parts.storeCheck, false, nowMs)] : []),
    ],
    interruption: parts.interruption,
    drain: parts.drain,
    ecsAttributes: parts.ecsAttributes,
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

function checkReport({ check, looks }: WatchedCheck, published: boolean, nowMs: number): CheckReport {
  const { lookedAtMs, lastDurationMs } = looks;
  return {
    ...checkVerdict(check),
    published,
    ageMs: nowMs - lookedAtMs,
    lastDurationMs,
    looks: looks.looks,
    failures: looks.failures,
  };
}

function sourceReport(source: SourceStatus, nowMs: number): SourceReport {
  const { name, lastSuccessAtMs, lastError, lastDurationMs, reads, failures } = source;
  const ageMs = lastSuccessAtMs === null ? null : nowMs - lastSuccessAtMs;
  return { name, ageMs, lastError, lastDurationMs, reads, failures };
}
