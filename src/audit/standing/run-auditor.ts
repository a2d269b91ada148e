import type { Offices } from '../../store/offices.ts';
import { type Cell, createCell, sleepUnlessChanged } from '../../timing/cell.ts';
import type { Clock } from '../../timing/clock.ts';
import { withDeadline } from '../../timing/with-deadline.ts';
import { type AuditMemory, emptyAuditMemory } from '../audit-memory.ts';
import type { AuditReport } from '../audit-report.ts';
import { officeLeaseMs } from './audit-timing.ts';
import { type AuditorState, type AuditorStep, initialAuditorState, type StoreAction } from './auditor-state.ts';
import { planAudit } from './plan.ts';
import { publishFailure, publishResult } from './publication.ts';
import { type AuditOutcome, settleAudit, settleAuditFailure } from './settle.ts';

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
  readonly offices: Offices;
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
  if (action === 'look') return { kind: 'looked', view: await offices.look(OFFICE, ['summary'], signal) };
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
    return { kind: 'recalled', view: await offices.look(OFFICE, ['summary', 'details', 'memory'], signal) };
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
  return kind === 'published' ? { kind } : { kind, of: action };
}
