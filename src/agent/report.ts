import {
  type CheckRuns,
  type CheckState,
  checkVerdict,
  countRun,
  type Damping,
  type Observation,
  observeCheck,
  type WatchedCheck,
} from '../checks/check.ts';
import type {
  AgentReport,
  AttributesReport,
  CheckReport,
  DrainReport,
  LeaseReport,
  SourceReport,
} from '../http/agent-report.ts';
import type { Clock } from '../lib/clock.ts';
import type { LoopAge } from '../lib/run-group.ts';
import type { Interruption, NodeRecord } from '../record/record.ts';
import type { SourceStatus } from '../sources/poll-source.ts';
import type { AttributesState, AttributesStep } from './attributes/plan.ts';
import type { NodeIdentity } from './node.ts';
import { leaseOverdue, type PublisherState, type Step } from './publisher/plan.ts';

/** What the report is made of. Instants in `publisher`, `sources` and the runs of checks are on the monotonic clock, like `nowMs`. */
export interface ReportParts {
  readonly identity: NodeIdentity;
  readonly storeLabel: string;
  readonly ttlMs: number;
  readonly record: NodeRecord | null;
  /** Also before the first record. */
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

/** The agent's report at `nowMs`; pure. */
export function buildAgentReport(parts: ReportParts): AgentReport {
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
  const confirmed = Number.isFinite(publisher.heartbeatAtMs);
  return {
    store: storeLabel,
    state: phase,
    reason: step.reason,
    believedGood: phase === 'held',
    ttlMs: publisher.hold?.ttlMs ?? ttlMs,
    lastBeatAgeMs: confirmed ? nowMs - publisher.heartbeatAtMs : null,
    lastError: publisher.trouble.error,
    counts: publisher.counts,
  };
}

function checkReport({ check, runs }: WatchedCheck, published: boolean, nowMs: number): CheckReport {
  const { lastRunAtMs, lastDurationMs } = runs;
  return {
    ...checkVerdict(check),
    published,
    ageMs: nowMs - lastRunAtMs,
    lastDurationMs,
    looks: runs.runs,
    failures: runs.failures,
  };
}

function sourceReport(source: SourceStatus, nowMs: number): SourceReport {
  const { name, lastSuccessAtMs, lastError, lastDurationMs, reads, failures } = source;
  const ageMs = lastSuccessAtMs === null ? null : nowMs - lastSuccessAtMs;
  return { name, ageMs, lastError, lastDurationMs, reads, failures };
}

/** The state of the attributes in ECS, from the next step. */
export function attributesReport(step: AttributesStep, state: AttributesState): AttributesReport {
  const current = step.action === 'done' || step.reason === 'ECS has what it should';
  const known = state.inEcs === null ? 'unknown' : current ? 'current' : 'behind';
  const { error } = state.trouble;
  return {
    state: error === null ? known : 'failing',
    reason: error ?? step.reason,
    lastWrite: state.lastWrite,
  };
}

/** The check `store`: each answer to the publisher is a result. It is not in the record, which a failing store would not take. */
export interface StoreCheck {
  /** Call it with each step of the publisher. */
  onStep(step: Step, state: PublisherState): void;
  /** Null before the first answer. */
  watched(): WatchedCheck | null;
}

export function createStoreCheck(clock: Clock, damping: Damping): StoreCheck {
  let check: CheckState | null = null;
  let runs: CheckRuns | null = null;
  let last: { readonly state: PublisherState; readonly step: Step; readonly atMs: number } | null = null;
  return {
    onStep(step, state) {
      const nowMs = clock.monotonicMs();
      const before = last;
      last = { step, state, atMs: nowMs };
      // The publisher reports a step before its call and after it; only the answer, or its absence, makes a new state.
      if (!before || before.state === state) return;
      const seen = storeObservation(state, nowMs);
      check = observeCheck('store', check, seen, damping, clock.wallMs());
      runs = countRun(runs, seen, nowMs - before.atMs, nowMs);
    },
    watched: () => (check && runs ? { check, runs } : null),
  };
}

/** What the publisher's state says of the store and of this node's registration. @param nowMs on the monotonic clock */
export function storeObservation(state: PublisherState, nowMs: number): Observation {
  const { error } = state.trouble;
  const onRoll = state.phase === 'departed' || (state.phase === 'held' && !leaseOverdue(state, nowMs));
  if (onRoll) return { status: error === null ? 'passing' : 'warning', reason: error ?? '' };
  const lost = state.phase === 'unregistered' ? 'not registered' : 'the presence lease is lost';
  return { status: 'critical', reason: error === null ? lost : `${lost}: ${error}` };
}
