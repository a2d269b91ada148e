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
import { formatDuration } from '../lib/duration.ts';
import { describeError } from '../lib/errors.ts';
import type { LoopAge } from '../lib/run-group.ts';
import type { Interruption, NodeRecord } from '../record/record.ts';
import type { WatchDown } from '../registry/follower.ts';
import type { SourceStatus } from '../sources/poll-source.ts';
import { type AttributesState, type AttributesStep, CURRENT } from './attributes/attributes-plan.ts';
import type { NodeIdentity } from './node-state.ts';
import { leaseOverdue, type PublisherState, type Step } from './publisher/publisher-plan.ts';

/** What the report is made of. Instants in `publisher`, `sources` and the runs of checks are on the monotonic clock, like `nowMs`. */
interface ReportParts {
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
  const current = step.action === 'done' || step.reason === CURRENT;
  const known = state.inEcs === null ? 'unknown' : current ? 'current' : 'behind';
  const { error } = state.trouble;
  return {
    state: error === null ? known : 'failing',
    reason: error ?? step.reason,
    lastWrite: state.lastWrite,
  };
}

/** The check `store`: each answer to the publisher is a result, and so is a watch of the roll that goes down. It is not in the record, which a failing store would not take. */
export interface StoreCheck {
  /** Call it with each step of the publisher. */
  onStep(step: Step, state: PublisherState): void;
  /** Call it when the watch of the roll is down, or, with null, up again or not needed any more. */
  onWatch(down: WatchDown | null): void;
  /** Null before the first answer. */
  watched(): WatchedCheck | null;
}

export function createStoreCheck(clock: Clock, damping: Damping): StoreCheck {
  let check: CheckState | null = null;
  let runs: CheckRuns | null = null;
  let last: { readonly state: PublisherState; readonly step: Step; readonly atMs: number } | null = null;
  let watchDown: WatchDown | null = null;
  return {
    onWatch(down) {
      watchDown = down;
    },
    onStep(step, state) {
      const nowMs = clock.monotonicMs();
      const before = last;
      last = { step, state, atMs: nowMs };
      // The publisher reports a step before its call and after it; only the answer, or its absence, makes a new state.
      if (!before || before.state === state) return;
      const seen = storeObservation(state, watchDown, nowMs);
      // Whether the node is on the roll is a fact, not a result that may be wrong: not being on it counts from the first
      // answer on, and being on it again at once. The next answer after a registration may be a third of a TTL away.
      const { rise, fall } = damping;
      const undamped = { rise: check?.status === 'critical' ? 1 : rise, fall: check ? fall : 1 };
      check = observeCheck('store', check, seen, undamped, clock.wallMs());
      runs = countRun(runs, seen, nowMs - before.atMs, nowMs);
    },
    watched: () => (check && runs ? { check, runs } : null),
  };
}

/** One line. */
export function describeWatchDown({ downMs, error }: WatchDown): string {
  const cause = error === null ? 'the store sends nothing' : describeError(error);
  return `the watch of the roll has been down for ${formatDuration(downMs)}: ${cause}`;
}

/**
 * What the publisher's state says of the store and of this node's registration.
 * @param watchDown null: the watch of the roll is up, or none runs @param nowMs on the monotonic clock
 */
function storeObservation(state: PublisherState, watchDown: WatchDown | null, nowMs: number): Observation {
  const { error } = state.trouble;
  const onRoll = state.phase === 'departed' || (state.phase === 'held' && !leaseOverdue(state, nowMs));
  const reason = error ?? (watchDown === null ? null : describeWatchDown(watchDown));
  if (onRoll) return { status: reason === null ? 'passing' : 'warning', reason: reason ?? '' };
  const lost = state.phase === 'unregistered' ? 'not registered' : 'the presence lease is lost';
  return { status: 'critical', reason: error === null ? lost : `${lost}: ${error}` };
}
