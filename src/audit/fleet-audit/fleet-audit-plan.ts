import { Backoff } from '../../lib/backoff.ts';
import { type Call, noTrouble, retryReason, type Trouble, type Wait } from '../../lib/control-loop.ts';
import { formatDuration } from '../../lib/duration.ts';
import type {
  CampaignOutcome,
  Documents,
  Holder,
  LeaderLockState,
  PublishOutcome,
  Term,
} from '../../store/leader-lock.ts';
import type { AuditMemory } from '../history.ts';
import type { ConnectionRead } from './connection-check.ts';
import type { AuditSummary, Publication } from './documents.ts';
import { differenceChanges } from './kept-differences.ts';
import type { SummaryCopy } from './summary-copy.ts';

/** Why an audit failed, for a metric: each of AWS's many error codes is one of these. */
export const AUDIT_FAILURES = ['store', 'denied', 'credentials', 'throttled', 'ecs', 'late', 'other'] as const;
export type AuditFailure = (typeof AUDIT_FAILURES)[number];

/** What an agent does next for the continuous audit, and why. */
export type AuditorStep =
  | (Why & { readonly action: 'read' | 'campaign' })
  | (Why & { readonly action: 'renew' | 'read-memory'; readonly term: Term })
  /** `abstain`: other agents are to go first. */
  | (Why & { readonly action: 'resign'; readonly term: Term; readonly abstain: boolean })
  | (Why & { readonly action: 'publish'; readonly term: Term } & Written)
  /** Asks nothing: an audit begins, and goes on beside the loop. */
  | (Why & { readonly action: 'run'; readonly memory: AuditMemory; readonly last: AuditSummary | null })
  /** Asks nothing: takes the audit that has ended. */
  | (Why & { readonly action: 'collect' } & AuditEnd)
  /** Asks nothing: the leader lock is taken for lost. */
  | (Why & { readonly action: 'step-down' })
  | Wait;

/** What a publication writes; of documents and differences only what is not in the store yet. */
interface Written {
  readonly documents: Documents;
  /** By key; null: it is removed. */
  readonly differences: Readonly<Record<string, string | null>>;
}

type Why = { readonly reason: string };

export interface AuditorAnswers {
  readonly read: LeaderLockState;
  readonly campaign: CampaignOutcome;
  readonly renew: 'renewed' | 'lost';
  readonly 'read-memory': LeaderLockState & { readonly differences: ReadonlyMap<string, string> };
  readonly publish: PublishOutcome;
  readonly resign: unknown;
  readonly run: unknown;
  readonly collect: unknown;
  readonly 'step-down': unknown;
}

/** How an audit ended. */
export interface AuditEnd {
  readonly publication: Publication;
  /** null: it succeeded. */
  readonly error: unknown;
}

/** An agent's state in the continuous audit. Every instant is on the monotonic clock. */
export interface AuditorState {
  /** null: this agent does not lead. */
  readonly leadership: Leadership | null;
  /** The leader, as last read; null: there was none, or nothing was read yet. */
  readonly holder: Holder | null;
  /** null before the first read that the store answered. */
  readonly copy: SummaryCopy | null;
  /** As last read by an agent that does not lead; null: not read yet. */
  readonly connection: ConnectionRead | null;
  readonly nextReadAtMs: number;
  readonly run: RunState;
  readonly nextRunAtMs: number;
  /** Audits in a row, of this term, that failed. */
  readonly failedRuns: number;
  /** This agent does not try to lead again before this instant. */
  readonly abstainUntilMs: number;
  /** Of calls to the store. */
  readonly trouble: Trouble<Call<AuditorStep>['action']>;
  readonly counts: AuditCounts;
  /** Of the node's presence. */
  readonly ttlMs: number;
  /** From the beginning of one audit to the beginning of the next. */
  readonly intervalMs: number;
}

/** What a leader keeps for its term. */
export interface Leadership {
  readonly term: Term;
  /** When the newest renewal that the store confirmed was *sent*: the lease lives at least its TTL from then. */
  readonly confirmedAtMs: number;
  readonly nextRenewAtMs: number;
  /** null: what earlier leaders remembered has not been read yet. */
  readonly memory: AuditMemory | null;
  /** What the store has, as text; null: nothing. */
  readonly stored: {
    readonly details: string | null;
    readonly memory: string | null;
    /** Those that are kept, by key. */
    readonly differences: ReadonlyMap<string, string>;
  };
}

type RunState =
  | { readonly kind: 'idle' | 'running' }
  /** Not in the store yet. */
  | { readonly kind: 'ended'; readonly publication: Publication };

/** Since the start of the process. */
export interface AuditCounts {
  readonly elections: number;
  /** Audits that succeeded. */
  readonly results: number;
  readonly failures: Readonly<Record<AuditFailure, number>>;
  /** Results that the store refused, because the term was over. */
  readonly refused: number;
}

export function initialAuditorState(ttlMs: number, intervalMs: number): AuditorState {
  return {
    leadership: null,
    holder: null,
    copy: null,
    connection: null,
    nextReadAtMs: Number.NEGATIVE_INFINITY,
    run: { kind: 'idle' },
    nextRunAtMs: Number.NEGATIVE_INFINITY,
    failedRuns: 0,
    abstainUntilMs: Number.NEGATIVE_INFINITY,
    // Never longer than between two renewals: a publication that is refused must not cost the leader lock.
    trouble: noTrouble(new Backoff(500, ttlMs / 6)),
    counts: {
      elections: 0,
      results: 0,
      failures: Object.fromEntries(AUDIT_FAILURES.map((cause) => [cause, 0])) as Record<AuditFailure, number>,
      refused: 0,
    },
    ttlMs,
    intervalMs,
  };
}

/**
 * The lease of the leader lock. A leader that dies is replaced within one presence TTL of at least 4 s: half of it for its
 * lease to run out, at most a third for the next read of another agent, and the rest for the store, which ends leases up
 * to a second late. After a change of etcd's own leader, which starts every lease anew, half a TTL later.
 */
export function lockLeaseMs(presenceTtlMs: number): number {
  return Math.max(1_000, Math.floor(presenceTtlMs / 2_000) * 1_000);
}

/** Of a leader, in a row: its role, its network or its bundle may be what is wrong, and another agent's may be right. */
const MAX_FAILED_RUNS = 3;
/**
 * Polls of the connections, a minute apart: they fail long before the next audit where the interval is long. So soon the
 * next leader has asked ECS before the nodes warn that their connection is not known.
 */
const MAX_FAILED_POLLS = 5;

interface AuditPlanInput {
  /** The agent is to deregister and end. */
  readonly leaving: boolean;
  readonly session: string;
  /** null until it is known: a node that does not know its id does not lead. */
  readonly instanceId: string | null;
  /** The audit that went on beside the loop and has ended; null: none. */
  readonly ended: AuditEnd | null;
  /** Polls of the connections in a row, of this term, that failed for a reason that may be this agent's. */
  readonly failedPolls: number;
}

/**
 * The auditor's next step; pure. It has no end: an agent that has resigned waits to be ended with the rest.
 * @param nowMs on the monotonic clock
 */
export function planAudit(state: AuditorState, nowMs: number, input: AuditPlanInput): AuditorStep {
  const { leadership, holder, trouble, nextReadAtMs, run, nextRunAtMs, failedRuns } = state;
  if (input.ended) return { action: 'collect', ...input.ended, reason: 'an audit ended' };
  // Never longer: a loop that makes no step is taken for a stuck one.
  const longestWaitMs = nowMs + state.ttlMs / 3;
  if (input.leaving) {
    // Once only: where the store does not take it, the lease runs out.
    if (leadership && trouble.action !== 'resign') {
      return { action: 'resign', term: leadership.term, abstain: false, reason: 'leaving' };
    }
    return { action: 'wait', untilMs: longestWaitMs, reason: 'leaving' };
  }
  const overMs = leadership ? leadership.confirmedAtMs + leadership.term.ttlMs : Number.POSITIVE_INFINITY;
  if (leadership && nowMs >= overMs) {
    const silentMs = nowMs - leadership.confirmedAtMs;
    const reason = `no confirmed renewal for ${formatDuration(silentMs)}: another agent may lead by now`;
    return { action: 'step-down', reason };
  }
  const wait = (untilMs: number, reason: string): AuditorStep => {
    return { action: 'wait', untilMs: Math.min(untilMs, longestWaitMs, overMs), reason };
  };
  if (nowMs < trouble.retryAtMs) return wait(trouble.retryAtMs, retryReason(trouble));
  if (!leadership) {
    if (nowMs >= nextReadAtMs) return { action: 'read', reason: 'a read of the leader lock is due' };
    if (holder?.session === input.session)
      return { action: 'campaign', reason: 'the term of this agent has not ended' };
    if (holder) return wait(nextReadAtMs, `${holder.instanceId ?? holder.session} leads`);
    if (input.instanceId === null) return wait(nextReadAtMs, 'no agent leads, and the instance id is not known yet');
    if (nowMs < state.abstainUntilMs) {
      return wait(
        Math.min(nextReadAtMs, state.abstainUntilMs),
        'ECS could not be asked by this agent: other agents go first',
      );
    }
    return { action: 'campaign', reason: 'no agent leads' };
  }
  const { term, memory, nextRenewAtMs } = leadership;
  if (nowMs >= nextRenewAtMs) return { action: 'renew', term, reason: 'a renewal is due' };
  if (run.kind === 'ended') {
    return { action: 'publish', term, ...changed(run.publication, leadership), reason: 'an audit ended' };
  }
  if (failedRuns >= MAX_FAILED_RUNS || input.failedPolls >= MAX_FAILED_POLLS) {
    const failed = failedRuns >= MAX_FAILED_RUNS ? `${failedRuns} audits` : `${input.failedPolls} polls of ECS`;
    const reason = `${failed} in a row failed on this agent: another agent may succeed`;
    return { action: 'resign', term, abstain: true, reason };
  }
  if (memory === null)
    return { action: 'read-memory', term, reason: 'what earlier leaders remembered is not known yet' };
  if (run.kind === 'running') return wait(nextRenewAtMs, 'an audit is under way');
  if (nowMs >= nextRunAtMs) {
    return { action: 'run', memory, last: state.copy?.summary ?? null, reason: 'an audit is due' };
  }
  return wait(Math.min(nextRenewAtMs, nextRunAtMs), 'leading; no audit is due');
}

/** What the store has already is not written again. */
function changed({ summary, found }: Publication, { stored }: Leadership): Written {
  const documents = {
    summary,
    ...(found && found.details !== stored.details ? { details: found.details } : {}),
    ...(found && found.memoryText !== stored.memory ? { memory: found.memoryText } : {}),
  };
  return { documents, differences: found ? differenceChanges(stored.differences, found.differences) : {} };
}
