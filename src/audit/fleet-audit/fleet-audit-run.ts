import { type Cell, createCell } from '../../lib/cell.ts';
import type { Clock } from '../../lib/clock.ts';
import { runLoop } from '../../lib/control-loop.ts';
import { withDeadline } from '../../lib/deadline.ts';
import { describeError } from '../../lib/errors.ts';
import type { LeaderLocks, Term } from '../../store/leader-lock.ts';
import type { AuditMemory } from '../history.ts';
import type { ConnectionRead } from './connection-check.ts';
import { CONNECTION_LIMITS, type ConnectionLimits } from './connections.ts';
import { type AuditSummary, publishFailure, publishResult } from './documents.ts';
import type { Audit } from './fleet.ts';
import { applyAudit, applyAuditFailure, mayBeOwn } from './fleet-audit-apply.ts';
import {
  type AuditEnd,
  type AuditorAnswers,
  type AuditorState,
  type AuditorStep,
  initialAuditorState,
  type Leadership,
  lockLeaseMs,
  planAudit,
} from './fleet-audit-plan.ts';
import { straysOf } from './kept-differences.ts';
import { nodeDocument, SHARED_DOCUMENT, watchConnections } from './watch-connections.ts';

/** What the auditor needs; it owns none of it. */
export interface AuditorOptions {
  readonly locks: LeaderLocks;
  readonly audit: Audit;
  readonly clock: Clock;
  readonly random: () => number;
  readonly session: string;
  /** null until it is known. */
  readonly instanceId: () => string | null;
  /** Of the node's presence. */
  readonly ttlMs: number;
  readonly intervalMs: number;
  /** Default: `CONNECTION_LIMITS`. */
  readonly limits?: ConnectionLimits | undefined;
  readonly leaving: Cell<boolean>;
  /** Called before and after each call of the store, and at each wait: the loop makes progress. */
  readonly onStep: (step: AuditorStep, state: AuditorState) => void;
  /** Called after each poll of the connections by a leader of the fleet, with what concerns its own node. */
  readonly onPoll?: (read: ConnectionRead) => void;
  /** Called when the polls have to start over. @param reason one line */
  readonly onPollFailed?: (reason: string) => void;
}

/** The name of the leader lock. */
export const LOCK = 'audit';
/** No call of the store may hold the loop for longer. */
const MAX_CALL_MS = 5_000;
/** The budget of 60,000 nodes. An audit that takes longer hangs. */
const MAX_RUN_MS = 900_000;
/** The agent has 3 s to end, and its node's departure goes before this. */
const MAX_RESIGN_MS = 1_000;

/** Carries out what `planAudit` says until `signal` aborts. Whatever the store or ECS does, it only waits and retries. */
export async function runAuditor(options: AuditorOptions, signal: AbortSignal): Promise<void> {
  const { clock, random, leaving, audit, locks, session, ttlMs, intervalMs } = options;
  const running = runBeside(options);
  const polls = pollsBeside(options);
  let led = false;
  try {
    await runLoop<AuditorState, AuditorStep, AuditorAnswers>(
      {
        clock,
        random,
        initial: initialAuditorState(ttlMs, intervalMs),
        plan(state, nowMs) {
          const instanceId = options.instanceId();
          const beside = { ended: running.ended(), failedPolls: polls.failed() };
          return planAudit(state, nowMs, { leaving: leaving.get(), session, instanceId, ...beside });
        },
        actions: {
          read(_, callSignal) {
            const id = options.instanceId();
            const own = id === null ? [] : [SHARED_DOCUMENT, nodeDocument(id)];
            return locks.read(LOCK, ['summary', ...own], callSignal);
          },
          campaign(_, callSignal) {
            const candidate = { session, instanceId: options.instanceId(), ttlMs: lockLeaseMs(ttlMs) };
            return locks.campaign(LOCK, candidate, callSignal);
          },
          renew: ({ term }, callSignal) => locks.renew(term, callSignal),
          async 'read-memory'(_, callSignal) {
            const read = await locks.read(LOCK, ['summary', 'details', 'memory'], callSignal);
            return { ...read, differences: await locks.differences(callSignal) };
          },
          publish: ({ term, documents, differences }, callSignal) =>
            locks.publish(term, documents, callSignal, { differences }),
          resign: ({ term }, callSignal) => locks.resign(term, callSignal),
          run: async ({ memory, last }) => running.start(memory, last),
          collect: async () => running.stop(),
          'step-down': async () => {},
        },
        apply: applyAudit,
        applyFailure: applyAuditFailure,
        limitMs: ({ action }) => (action === 'resign' ? MAX_RESIGN_MS : Math.min(MAX_CALL_MS, ttlMs / 3)),
        wakeUps: [leaving, running.changes],
        yields: ({ action }) => leaving.get() && action !== 'resign',
        // The rest of the agent may end in a moment, and a lock that is free at once is worth that moment.
        outlivesAbort: ({ action }) => action === 'resign',
        onStep(step, state) {
          if (led && !state.leadership) {
            // What the audit finds now is of no use, and its requests are taken from the next leader's budget.
            running.stop();
            audit.release();
          }
          led = state.leadership !== null;
          polls.follow(state.leadership);
          options.onStep(step, state);
        },
      },
      signal,
    );
  } finally {
    polls.follow(null);
    running.stop();
    audit.release();
  }
}

/** The polls of the connections of the fleet, which go on beside the loop for as long as this agent leads. */
interface Polls {
  follow(leadership: Leadership | null): void;
  /** How many in a row, of this term, failed for a reason that may be this agent's. */
  failed(): number;
}

function pollsBeside(options: AuditorOptions): Polls {
  const { audit, locks, clock, session, limits = CONNECTION_LIMITS } = options;
  let followed: Term | null = null;
  let differences: ReadonlyMap<string, string> = new Map();
  let current = new AbortController();
  let failed = 0;
  const onPolled = (error: unknown) => {
    if (error === null) failed = 0;
    else if (mayBeOwn(error)) failed += 1;
  };
  const onTold = (shared: string, told: ReadonlyMap<string, string>) => {
    const instanceId = options.instanceId();
    const own = (instanceId && told.get(instanceId)) ?? null;
    options.onPoll?.({ atMs: clock.monotonicMs(), holder: { session, instanceId }, shared, own });
  };
  return {
    failed: () => failed,
    follow(leadership) {
      // Not before it is known what the last audit found: its strays must not pass until the next one.
      const term = leadership?.memory ? leadership.term : null;
      differences = leadership?.stored.differences ?? differences;
      if (term === followed) return;
      followed = term;
      failed = 0;
      current.abort(new Error('this agent no longer audits the fleet'));
      current = new AbortController();
      if (term === null) return;
      const { signal } = current;
      const poll: Audit['disconnected'] = (known, by) => audit.disconnected(known, by);
      const work = { term, locks, poll, strays: () => straysOf(differences), limits, clock, onPolled, onTold };
      void (async () => {
        // Ended by the store, whose word is that the term is over, or by the loop. A defect must not end all polls.
        for (let isOver = false; !isOver; ) {
          isOver = await watchConnections(work, signal).then(
            () => true,
            async (error: unknown) => {
              if (!signal.aborted) options.onPollFailed?.(describeError(error));
              return clock.sleep(limits.pollIntervalMs, signal).then(
                () => false,
                () => true,
              );
            },
          );
        }
      })();
    },
  };
}

/** The audit that goes on beside the loop, which goes on renewing: at most one at a time. */
interface Running {
  /** Set when the audit ends. */
  readonly changes: Pick<Cell<unknown>, 'onChange'>;
  start(memory: AuditMemory, last: AuditSummary | null): void;
  /** Forgets the audit, and aborts it if it has not ended. */
  stop(): void;
  /** null: none has ended since the last `stop`. @throws what an audit throws whose failure cannot even be described */
  ended(): AuditEnd | null;
}

function runBeside(options: AuditorOptions): Running {
  const end = createCell<(() => AuditEnd) | null>(null);
  let current = new AbortController();
  const stop = () => {
    current.abort(new Error('this agent no longer audits the fleet'));
    end.set(null);
  };
  return {
    changes: end,
    start(memory, last) {
      stop();
      current = new AbortController();
      const { signal } = current;
      const conclude = (outcome: () => AuditEnd) => {
        if (!signal.aborted) end.set(outcome);
      };
      auditOnce(options, memory, last, signal).then(
        (outcome) => conclude(() => outcome),
        (defect: unknown) =>
          conclude(() => {
            throw defect;
          }),
      );
    },
    stop,
    ended: () => end.get()?.() ?? null,
  };
}

async function auditOnce(
  { clock, audit, session, intervalMs, instanceId }: AuditorOptions,
  memory: AuditMemory,
  last: AuditSummary | null,
  signal: AbortSignal,
): Promise<AuditEnd> {
  const context = () => {
    const by = { session, instanceId: instanceId() };
    return { by, intervalMs, endedAt: new Date(clock.wallMs()).toISOString() };
  };
  try {
    const { report, memory: next } = await withDeadline(clock, MAX_RUN_MS, signal, 'audit', (runSignal) =>
      audit.run(memory, runSignal),
    );
    return { publication: publishResult(report, next, context()), error: null };
  } catch (error) {
    return { publication: publishFailure(error, last, context()), error };
  }
}
