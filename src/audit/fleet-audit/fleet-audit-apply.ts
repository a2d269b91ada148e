import { EcsError, isThrottled } from '../../ecs/ecs-errors.ts';
import { type Apply, afterFailure, afterSuccess, type Call, type CallEnd, noTrouble } from '../../lib/control-loop.ts';
import { DeadlineError } from '../../lib/deadline.ts';
import { StoreError } from '../../store/store-errors.ts';
import { decodeMemory } from '../history.ts';
import type { AuditFailure, AuditorAnswers, AuditorState, AuditorStep } from './fleet-audit-plan.ts';
import { withChanges } from './kept-differences.ts';
import { ageMs, updateCopy } from './summary-copy.ts';

const RETRY_MS = 300_000;

/** The state after each answer of the store, and after what happened beside it; pure. */
export const applyAudit: Apply<AuditorState, AuditorStep, AuditorAnswers> = {
  read(state, _, { holder, documents }, end) {
    const copy = updateCopy(state.copy, documents[0] ?? null, end);
    // Less up to a tenth, so that the reads of a fleet spread.
    const nextReadAtMs = end.nowMs + (state.ttlMs / 3) * (1 - end.random / 10);
    const [, shared = null, own = null] = documents;
    const connection = { atMs: end.nowMs, holder, shared, own };
    return { ...state, holder, copy, connection, nextReadAtMs, trouble: noTrouble(state.trouble.backoff) };
  },
  campaign(before, { action }, outcome, { sentAtMs }) {
    const state = afterSuccess(before, action);
    if (outcome.kind === 'taken') return { ...state, holder: outcome.by };
    // When a term that goes on was confirmed last is not known here: it is renewed first.
    const confirmed = { confirmedAtMs: sentAtMs, nextRenewAtMs: sentAtMs };
    const leadership = {
      term: outcome.term,
      ...confirmed,
      memory: null,
      stored: { details: null, memory: null, differences: new Map() },
    };
    const counts = { ...state.counts, elections: state.counts.elections + 1 };
    return { ...state, leadership, run: { kind: 'idle' }, counts };
  },
  renew(before, { action, term }, outcome, { sentAtMs, nowMs, random }) {
    if (outcome === 'lost') return leadershipOver(before, nowMs);
    // Two renewals may fail before the third is too late.
    const nextRenewAtMs = sentAtMs + (term.ttlMs / 3) * (1 - random / 10);
    return withLeadership(afterSuccess(before, action), { confirmedAtMs: sentAtMs, nextRenewAtMs });
  },
  'read-memory'(before, { action }, { documents, differences }, end) {
    const state = afterSuccess(before, action);
    const [summary = null, details = null, memoryText = null] = documents;
    const copy = updateCopy(state.copy, summary, end);
    // Where no agent has audited yet the fleet may be starting: each node has a TTL to come on the roll.
    const pauseMs = copy.summary?.lastRun.error ? retryAfterMs(state) : state.intervalMs;
    const nextRunAtMs = end.nowMs + (copy.lastRun ? pauseMs - ageMs(copy.lastRun, end.nowMs) : state.ttlMs);
    const memory = decodeMemory(memoryText, copy.summary?.result?.finishedAt ?? null);
    const stored = { details, memory: memoryText, differences };
    return withLeadership({ ...state, copy, nextRunAtMs }, { memory, stored });
  },
  run: (state, _, __, { nowMs }) => ({
    ...state,
    run: { kind: 'running' },
    nextRunAtMs: nowMs + state.intervalMs,
  }),
  collect(before, { publication, error }, _, { nowMs }) {
    const state: AuditorState = { ...before, run: { kind: 'ended', publication } };
    const { counts, failedRuns } = state;
    if (publication.found) return { ...state, failedRuns: 0, counts: { ...counts, results: counts.results + 1 } };
    const cause = auditFailure(error);
    return {
      ...state,
      // A store that could not answer the audit says nothing about which agent should lead.
      failedRuns: failedRuns + (cause === 'store' ? 0 : 1),
      nextRunAtMs: Math.min(state.nextRunAtMs, nowMs + retryAfterMs(state)),
      counts: { ...counts, failures: { ...counts.failures, [cause]: counts.failures[cause] + 1 } },
    };
  },
  publish(before, { action, documents, differences: changes }, outcome, end) {
    if (outcome.kind === 'lost') {
      const counts = { ...before.counts, refused: before.counts.refused + 1 };
      return { ...leadershipOver(before, end.nowMs), counts };
    }
    const state = afterSuccess(before, action);
    const found = state.run.kind === 'ended' ? state.run.publication.found : null;
    const copy = updateCopy(state.copy, documents['summary'] ?? null, end);
    const differences = withChanges(before.leadership?.stored.differences ?? new Map(), changes);
    const stored = found && {
      memory: found.memory,
      stored: { details: found.details, memory: found.memoryText, differences },
    };
    return withLeadership({ ...state, copy, run: { kind: 'idle' } }, stored ?? {});
  },
  resign(state, { abstain }, _, { nowMs }) {
    // As long as it takes every other agent to read the lock.
    const abstainUntilMs = abstain ? nowMs + state.ttlMs : state.abstainUntilMs;
    return { ...leadershipOver(state, nowMs), abstainUntilMs };
  },
  'step-down': (state, _, __, { nowMs }) => leadershipOver(state, nowMs),
};

/** The state after a call that failed; pure. Nothing is known about the leader lock: the next call has to wait. */
export function applyAuditFailure(
  state: AuditorState,
  { action }: Call<AuditorStep>,
  error: unknown,
  end: CallEnd,
): AuditorState {
  return { ...state, trouble: afterFailure(state.trouble, action, error, end) };
}

/** The common errors of every AWS service: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html */
const CREDENTIALS =
  /^(NoCredentials|BadProfile|ExpiredToken|UnrecognizedClient|InvalidSignature|InvalidClientTokenId|MissingAuth|IncompleteSignature)/;

/** @param error that an audit failed with */
export function auditFailure(error: unknown): AuditFailure {
  if (error instanceof StoreError) return 'store';
  if (error instanceof DeadlineError) return 'late';
  if (!(error instanceof EcsError)) return 'other';
  if (/^AccessDenied|^NotAuthorized/.test(error.code)) return 'denied';
  if (CREDENTIALS.test(error.code)) return 'credentials';
  return isThrottled(error) ? 'throttled' : 'ecs';
}

/**
 * Whether this failure may be the agent's own, so that another one may succeed. A store that does not answer says nothing
 * about which agent should lead, and AWS throttles the account, whichever agent asks.
 */
export function mayBeOwn(error: unknown): boolean {
  const cause = auditFailure(error);
  return cause !== 'store' && cause !== 'throttled';
}

function withLeadership(state: AuditorState, changes: Partial<NonNullable<AuditorState['leadership']>>): AuditorState {
  return { ...state, leadership: state.leadership && { ...state.leadership, ...changes } };
}

/** Failures of a leader's calls mean nothing to an agent that only reads: it reads at once. */
function leadershipOver(state: AuditorState, nowMs: number): AuditorState {
  const none = { leadership: null, holder: null, run: { kind: 'idle' as const }, failedRuns: 0 };
  return { ...state, ...none, nextReadAtMs: nowMs, trouble: noTrouble(state.trouble.backoff) };
}

/** From the end of an audit that failed to the next: with an interval of a day, a late answer does not cost the day. */
function retryAfterMs({ intervalMs }: AuditorState): number {
  return Math.min(intervalMs, RETRY_MS);
}
