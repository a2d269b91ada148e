import { clusterName } from '../../ecs/arn.ts';
import type { EcsApi } from '../../ecs/ecs-api.ts';
import { listClusters } from '../../ecs/list-instances.ts';
import { abortable } from '../../lib/abort.ts';
import { type Cell, createCell, sleepUnlessChanged } from '../../lib/cell.ts';
import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import { describeError, RollcallError } from '../../lib/errors.ts';
import { harmless, type Task } from '../../lib/run-group.ts';
import { presenceState, type Roll } from '../../record/roll.ts';
import type { LeaderLocks, Store } from '../../store/store.ts';
import { type AuditMemory, emptyAuditMemory, encodeMemory } from '../history.ts';
import { type AuditReport, DIFFERENCE_KINDS, type DifferenceKind } from '../report.ts';
import {
  type AuditDetails,
  type AuditedBy,
  type AuditSummary,
  boundDetails,
  decodeDetails,
  decodeSummary,
  encodeDetails,
  encodeSummary,
  reportOf,
} from './documents.ts';
import {
  type AuditNews,
  type AuditOutcome,
  type AuditorState,
  type AuditorStep,
  heed,
  initialAuditorState,
  officeLeaseMs,
  type Publication,
  planAudit,
  type StoreAction,
  settleAudit,
  settleAuditFailure,
} from './plan.ts';
import { type AuditStatus, auditStatus } from './status.ts';

interface RunContext {
  readonly by: AuditedBy;
  readonly intervalMs: number;
  /** RFC 3339. */
  readonly endedAt: string;
}

/** What is told of an audit that came to a result. */
export function publishResult(report: AuditReport, memory: AuditMemory, context: RunContext): Publication {
  const { by, intervalMs, endedAt } = context;
  const { startedAt, finishedAt, revision, agreeing, elsewhere } = report;
  const count = (kind: DifferenceKind) => report.differences.filter((difference) => difference.kind === kind).length;
  const differences = Object.fromEntries(DIFFERENCE_KINDS.map((kind) => [kind, count(kind)])) as Record<
    DifferenceKind,
    number
  >;
  const clusters = report.clusters.length;
  const summary = encodeSummary({
    intervalMs,
    lastRun: { by, endedAt, error: null },
    result: { by, startedAt, finishedAt, revision, clusters, agreeing, elsewhere, differences },
  });
  const details = encodeDetails(boundDetails(report));
  return { summary, found: { details, memoryText: encodeMemory(memory), memory } };
}

/** What is told of one that did not: the cause, beside the last result, which stays. */
export function publishFailure(error: unknown, last: AuditSummary | null, context: RunContext): Publication {
  const { by, intervalMs, endedAt } = context;
  const lastRun = { by, endedAt, error: describeError(error) };
  return { summary: encodeSummary({ intervalMs, lastRun, result: last?.result ?? null }), found: null };
}

/** The standing audit, as every agent that takes part in it is told. */
export interface AuditConfig {
  readonly intervalMs: number;
  /** Names or ARNs; or those that nodes on the roll are in; or all of the region. */
  readonly clusters: readonly string[] | 'roll' | 'all';
}

/** The audit itself, which only the leader makes. */
export interface Audit {
  run(
    memory: AuditMemory,
    signal: AbortSignal,
  ): Promise<{ readonly report: AuditReport; readonly memory: AuditMemory }>;
  /** This agent does not lead any more: frees what a run opened. */
  rest(): void;
}

/** What the auditor needs; it owns none of it. */
export interface AuditorOptions {
  readonly offices: LeaderLocks;
  readonly audit: Audit;
  readonly clock: Clock;
  readonly random: () => number;
  readonly session: string;
  /** null until it is known. */
  readonly instanceId: () => string | null;
  /** Of the node's presence. */
  readonly ttlMs: number;
  readonly intervalMs: number;
  readonly leaving: Cell<boolean>;
  /** Called before and after each call of the store, and at each wait: proof that the loop moves. */
  readonly onStep: (step: AuditorStep, state: AuditorState) => void;
}

const OFFICE = 'audit';
/** No call of the store may hold the loop for longer. */
const MAX_CALL_MS = 5_000;
/** The budget of 60,000 nodes. An audit that takes longer hangs. */
const MAX_RUN_MS = 900_000;
/** The agent has 3 s to end, and its node's departure goes before this. */
const MAX_RESIGN_MS = 1_000;

/** `outcome` throws where a defect left none. */
interface Ended {
  readonly of: AbortController;
  readonly outcome: () => AuditOutcome;
}

/** Carries out what `planAudit` says until `signal` aborts. Whatever the store or ECS does, it only waits and retries. */
export async function runAuditor(options: AuditorOptions, signal: AbortSignal): Promise<never> {
  const { clock, leaving, audit } = options;
  const ended = createCell<Ended | null>(null);
  let state = initialAuditorState;
  let running: AbortController | null = null;

  const settle = (outcome: AuditOutcome, sentAtMs = clock.monotonicMs()) => {
    const led = state.tenure !== null;
    state = settleAudit(state, outcome, momentOf(options, sentAtMs));
    if (!led || state.tenure) return;
    // What the audit finds now is for nobody, and its requests are taken from the next leader's budget.
    running?.abort(new Error('this agent does not lead any more'));
    running = null;
    audit.rest();
  };

  try {
    for (;;) {
      signal.throwIfAborted();
      const done = ended.get();
      if (done && done.of === running) {
        running = null;
        settle(done.outcome());
      }
      const step = planAudit(state, clock.monotonicMs(), {
        ...options,
        instanceId: options.instanceId(),
        leaving: leaving.get(),
      });
      options.onStep(step, state);
      if (step.action === 'wait') {
        await sleepUnlessChanged(clock, step.untilMs - clock.monotonicMs(), [leaving, ended], signal);
      } else if (step.action === 'step-down') {
        settle({ kind: 'stepped-down' });
      } else if (step.action === 'run') {
        running = new AbortController();
        startRun(options, state, running, (outcome) => ended.set(outcome));
        settle({ kind: 'started' });
      } else {
        const sentAtMs = clock.monotonicMs();
        try {
          settle(await bounded(options, state, step.action, signal), sentAtMs);
        } catch (error) {
          signal.throwIfAborted();
          // A call that was cut short because the agent is leaving did not fail.
          if (!leaving.get() || step.action === 'resign') {
            state = settleAuditFailure(state, step.action, error, momentOf(options, sentAtMs));
          }
        }
      }
      options.onStep(step, state);
    }
  } finally {
    (running as AbortController | null)?.abort(new Error('the agent ends'));
    audit.rest();
  }
}

function momentOf({ clock, random, ttlMs, intervalMs }: AuditorOptions, sentAtMs: number) {
  return { sentAtMs, nowMs: clock.monotonicMs(), wallMs: clock.wallMs(), random: random(), ttlMs, intervalMs };
}

/** Beside the loop, which goes on renewing. Tells how it ended, well or badly. */
function startRun(
  options: AuditorOptions,
  { tenure, news }: AuditorState,
  of: AbortController,
  tell: (ended: Ended) => void,
): void {
  const { clock, audit, session, intervalMs } = options;
  const context = () => {
    const by = { session, instanceId: options.instanceId() };
    return { by, intervalMs, endedAt: new Date(clock.wallMs()).toISOString() };
  };
  const memory = tenure?.memory ?? emptyAuditMemory;
  withDeadline(clock, MAX_RUN_MS, of.signal, 'audit', (runSignal) => audit.run(memory, runSignal))
    .then(({ report, memory: next }) => ({ publication: publishResult(report, next, context()), error: null }))
    .catch((error: unknown) => ({ publication: publishFailure(error, news?.summary ?? null, context()), error }))
    .then(
      (outcome) => tell({ of, outcome: () => ({ kind: 'ended', ...outcome }) }),
      // The loop's to break by: here nobody would catch it.
      (defect: unknown) =>
        tell({
          of,
          outcome: () => {
            throw defect;
          },
        }),
    );
}

async function bounded(
  options: AuditorOptions,
  state: AuditorState,
  action: StoreAction,
  signal: AbortSignal,
): Promise<AuditOutcome> {
  const { clock, leaving } = options;
  const work = (callSignal: AbortSignal) => call(options, state, action, callSignal);
  // Not the loop's signal: the rest of the agent may be gone in a moment, and a vacant office is worth that moment.
  if (action === 'resign') return withDeadline(clock, MAX_RESIGN_MS, new AbortController().signal, action, work);
  const cut = new AbortController();
  const onAbort = () => cut.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const stopListening = leaving.onChange(() => cut.abort(new Error('the agent is leaving')));
  try {
    return await withDeadline(clock, Math.min(MAX_CALL_MS, options.ttlMs / 3), cut.signal, action, work);
  } finally {
    stopListening();
    signal.removeEventListener('abort', onAbort);
  }
}

async function call(
  options: AuditorOptions,
  { tenure, run }: AuditorState,
  action: StoreAction,
  signal: AbortSignal,
): Promise<AuditOutcome> {
  const { offices, session, ttlMs } = options;
  if (action === 'look') return { kind: 'looked', view: await offices.read(OFFICE, ['summary'], signal) };
  if (action === 'campaign') {
    const candidate = { session, instanceId: options.instanceId(), ttlMs: officeLeaseMs(ttlMs) };
    return offices.campaign(OFFICE, candidate, signal);
  }
  if (!tenure) throw new Error(`the plan asked for ${action} without an office`);
  const { reign, stored } = tenure;
  if (action === 'renew') {
    const renewed = await offices.renew(reign, signal);
    return renewed === 'renewed' ? { kind: 'renewed' } : { kind: 'deposed', of: action };
  }
  if (action === 'recall') {
    return { kind: 'recalled', view: await offices.read(OFFICE, ['summary', 'details', 'memory'], signal) };
  }
  if (action === 'resign') {
    await offices.resign(reign, signal);
    return { kind: 'resigned' };
  }
  if (run.kind !== 'ended') throw new Error('the plan asked to publish before an audit ended');
  const { summary, found } = run.publication;
  const documents = {
    summary,
    ...(found && found.details !== stored.details ? { details: found.details } : {}),
    ...(found && found.memoryText !== stored.memory ? { memory: found.memoryText } : {}),
  };
  const { kind } = await offices.publish(reign, documents, signal);
  return kind === 'published' ? { kind } : { kind: 'deposed', of: action };
}

/** One agent's part in the standing audit, and what its HTTP side can say of it. */
export interface Auditor {
  /** Ends with its signal alone: a defect in it is told in the status. */
  readonly loop: Task<never>;
  status(): AuditStatus;
  /** The last result in full, from the store. Rejects as `Store` does. */
  read(signal: AbortSignal): Promise<AuditRead>;
}

/** All of it at one revision of the store. `report` is null where there is none, with what is wrong with it. */
export interface AuditRead {
  readonly revision: string;
  readonly summary: AuditSummary | null;
  readonly report: (AuditReport & Pick<AuditDetails, 'omitted'>) | null;
  readonly unreadable: string | null;
}

const READ_LIMIT_MS = 3_000;

/** @param onBroken called when the loop has stopped for good, with what is true of it from then on */
export function createAuditor(options: AuditorOptions, onBroken: (reason: string) => void): Auditor {
  const { clock, offices } = options;
  let broken: string | null = null;
  let state: AuditorState = initialAuditorState;
  // Of whoever looked last, the loop or a reader: what is told beside a report is never older than the report.
  let news: AuditNews | null = null;
  // One for all who ask at the same time: what a thousand readers cost the store is one.
  let reading: Promise<AuditRead> | null = null;

  const readStore = async (): Promise<AuditRead> => {
    const { revision, documents } = await withDeadline(
      clock,
      READ_LIMIT_MS,
      new AbortController().signal,
      'read the audit',
      (signal) => offices.read('audit', ['summary', 'details'], signal),
    );
    const [summary = null, details] = documents;
    news = heed(news, summary, { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() });
    const decodedSummary = summary ? decodeSummary(summary) : null;
    const decodedDetails = details ? decodeDetails(details) : null;
    const known = decodedSummary?.ok ? decodedSummary.value : null;
    const report = known?.result && decodedDetails?.ok ? reportOf(known.result, decodedDetails.value) : null;
    const wrong = [decodedSummary, decodedDetails].find((decoded) => decoded?.ok === false);
    return { revision, summary: known, report, unreadable: wrong?.ok === false ? wrong.reason : null };
  };

  return {
    loop: harmless(
      (signal) =>
        runAuditor(
          {
            ...options,
            onStep: (step, next) => {
              if (next.news !== state.news) news = next.news;
              state = next;
              options.onStep(step, next);
            },
          },
          signal,
        ),
      (reason) => {
        broken = reason;
        onBroken(reason);
      },
    ),
    status: () => {
      const self = { session: options.session, instanceId: options.instanceId() };
      return auditStatus({ ...state, news, broken }, clock.monotonicMs(), self, options.ttlMs);
    },
    read: (signal) => {
      reading ??= readStore().finally(() => {
        reading = null;
      });
      return abortable(reading, signal);
    },
  };
}

export interface FleetAuditDeps {
  readonly store: Pick<Store, 'read' | 'readOne'>;
  readonly clock: Clock;
  readonly openEcs: (requestsPerSecond: number) => Promise<EcsApi>;
}

/** A tenth of what ECS lets an account read in a region: others have to live there, too. */
const REQUESTS_PER_SECOND = 2;

/** The audit of the whole fleet. ECS's API is opened by the first run and kept until this agent leads no more. */
export function fleetAudit({ store, clock, openEcs }: FleetAuditDeps, clusters: AuditConfig['clusters']): Audit {
  let opened: Promise<EcsApi> | null = null;

  const ecsApi = (): Promise<EcsApi> => {
    const opening = opened ?? openEcs(REQUESTS_PER_SECOND);
    opened = opening;
    return opening.catch((error: unknown) => {
      if (opened === opening) opened = null;
      throw error;
    });
  };

  return {
    run: async (memory, signal) => {
      const { runAudit } = await import('../audit.ts');
      const ecs = await ecsApi();
      const asked = clusters === 'roll' ? await clustersOnRoll(await store.read(signal), ecs, signal) : clusters;
      return runAudit({ store, ecs, clock }, { clusters: asked === 'all' ? null : asked, memory }, signal);
    },
    rest: () => {
      opened?.then((api) => api.close()).catch(() => {});
      opened = null;
    },
  };
}

/**
 * The ARNs of the clusters of nodes that are present or lost, as far as ECS has them here: one that was deleted, or is of
 * another region, must not fail the audit of all others.
 * @throws RollcallError where there is none
 */
async function clustersOnRoll({ entries }: Roll, ecs: EcsApi, signal: AbortSignal): Promise<readonly string[]> {
  const there = entries.filter((entry) => presenceState(entry) !== 'departed');
  const names = new Set(there.map(({ record }) => record.cluster).filter((name) => name !== null));
  if (names.size === 0) {
    throw new RollcallError('audit: no node on the roll is in an ECS cluster; see --audit-clusters');
  }
  const arns = await listClusters(ecs, signal);
  const known = arns.filter((arn) => names.has(clusterName(arn) ?? ''));
  if (known.length > 0) return known.toSorted();
  throw new RollcallError(`audit: ${ecs.label} has none of the clusters of the roll: ${[...names].sort().join(', ')}`);
}
