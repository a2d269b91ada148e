import { EcsError, isThrottled } from '../../ecs/errors.ts';
import { Backoff } from '../../lib/backoff.ts';
import { DeadlineError } from '../../lib/deadline.ts';
import { formatDuration } from '../../lib/duration.ts';
import { describeError } from '../../lib/errors.ts';
import { StoreError } from '../../store/errors.ts';
import type { Holder, LeaderLockState, Term } from '../../store/store.ts';
import { type AuditMemory, decodeMemory } from '../history.ts';
import { type AuditSummary, decodeSummary } from './documents.ts';

/** Why an audit came to no result, for a metric: each of AWS's many error codes is one of these. */
export const AUDIT_FAILURES = ['store', 'denied', 'credentials', 'throttled', 'ecs', 'late', 'other'] as const;
export type AuditFailure = (typeof AUDIT_FAILURES)[number];

/** The common errors of every AWS service: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html */
const CREDENTIALS =
  /^(NoCredentials|BadProfile|ExpiredToken|UnrecognizedClient|InvalidSignature|InvalidClientTokenId|MissingAuth|IncompleteSignature)/;

export function auditFailure(error: unknown): AuditFailure {
  if (error instanceof StoreError) return 'store';
  if (error instanceof DeadlineError) return 'late';
  if (!(error instanceof EcsError)) return 'other';
  if (/^AccessDenied|^NotAuthorized/.test(error.code)) return 'denied';
  if (CREDENTIALS.test(error.code)) return 'credentials';
  return isThrottled(error) ? 'throttled' : 'ecs';
}

/** What an agent knows of the summary in the store, and for how long. */
export interface AuditNews {
  readonly text: string | null;
  /** null: there is none, or none that can be read. */
  readonly summary: AuditSummary | null;
  /** Why the summary cannot be read; null: it can, or there is none. */
  readonly unreadable: string | null;
  readonly run: Arrival | null;
  readonly result: Arrival | null;
}

/** When something was first seen here, and how old it was then. */
interface Arrival {
  readonly id: string;
  readonly atMs: number;
  readonly oldMs: number;
}

interface Moment {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/**
 * The news after a look at the store; pure. What comes while we look is new, whatever the clock of its writer says; only
 * of what was there before the first look is the age told by both wall clocks.
 */
export function heed(before: AuditNews | null, text: string | null, now: Moment): AuditNews {
  if (before !== null && text === before.text) return before;
  if (text === null) return { text, summary: null, unreadable: null, run: null, result: null };
  const decoded = decodeSummary(text);
  if (!decoded.ok) return { text, summary: null, unreadable: decoded.reason, run: null, result: null };
  const summary = decoded.value;
  const arrival = (last: Arrival | null | undefined, by: { readonly session: string }, at: string): Arrival => {
    const id = `${by.session} ${at}`;
    if (last?.id === id) return last;
    return { id, atMs: now.monotonicMs, oldMs: before === null ? Math.max(0, now.wallMs - Date.parse(at)) : 0 };
  };
  const { lastRun, result } = summary;
  return {
    text,
    summary,
    unreadable: null,
    run: arrival(before?.run, lastRun.by, lastRun.endedAt),
    result: result && arrival(before?.result, result.by, result.finishedAt),
  };
}

/** @param nowMs on the monotonic clock */
export function ageMs(arrival: Arrival, nowMs: number): number {
  return arrival.oldMs + nowMs - arrival.atMs;
}

/**
 * How an agent's presence TTL paces the election. A leader that dies is replaced within one TTL of at least 4 s: half of
 * it for its lease to run out, at most a third for the next look of anybody, and the rest for the store, which ends
 * leases up to a second late. After a change of etcd's own leader, which starts every lease anew, half a TTL later.
 */
export function officeLeaseMs(presenceTtlMs: number): number {
  return Math.max(1_000, Math.floor(presenceTtlMs / 2_000) * 1_000);
}

/** Between two looks of an agent that does not lead: less up to a tenth, so that a fleet's looks spread. */
export function lookIntervalMs(presenceTtlMs: number, random: number): number {
  return (presenceTtlMs / 3) * (1 - random / 10);
}

/** Two renewals may fail before the third is too late. */
export function renewIntervalMs(leaseTtlMs: number, random: number): number {
  return (leaseTtlMs / 3) * (1 - random / 10);
}

/** Of a leader, in a row: its role, its network or its bundle may be what is wrong, and another agent's may be right. */
export const MAX_FAILED_RUNS = 3;

const RETRY_MS = 300_000;

/** From the end of one audit that failed to the next: whoever audits once a day does not wait a day for an answer that was late. */
export function retryAfterMs(intervalMs: number): number {
  return Math.min(intervalMs, RETRY_MS);
}

/** A result that is older is stale: two audits did not come, and a leader had its time to be replaced. */
export function staleAfterMs(intervalMs: number, presenceTtlMs: number): number {
  return 2 * intervalMs + presenceTtlMs;
}

/** What an agent does next for the standing audit, and why. */
export type AuditorStep =
  | { readonly action: StoreAction; readonly reason: string }
  /** Neither asks the store: an audit begins beside the loop; the reign is taken for over. */
  | { readonly action: 'run' | 'step-down'; readonly reason: string }
  | { readonly action: 'wait'; readonly untilMs: number; readonly reason: string };

export type StoreAction = 'look' | 'campaign' | 'renew' | 'recall' | 'publish' | 'resign';

/** Where an agent stands with the standing audit. Every instant is on the monotonic clock. */
export interface AuditorState {
  /** null: somebody else leads, or nobody. */
  readonly tenure: Tenure | null;
  /** Who leads, as last seen; null: nobody, or not looked yet. */
  readonly holder: Holder | null;
  /** null before the first look that the store answered. */
  readonly news: AuditNews | null;
  readonly nextLookAtMs: number;
  readonly run: RunState;
  readonly nextRunAtMs: number;
  /** Audits in a row, of this reign, that came to no result. */
  readonly failedRuns: number;
  /** Not in charge again before this instant, should nobody else be. */
  readonly abstainUntilMs: number;
  /** After a failure: no call of the store before this instant. */
  readonly retryAtMs: number;
  readonly backoff: Backoff;
  /** null while the store answers. */
  readonly lastError: string | null;
  readonly failedAction: StoreAction | null;
  readonly counts: AuditCounts;
}

/** What a leader carries through its reign. */
export interface Tenure {
  readonly reign: Term;
  /** When the newest renewal that the store confirmed was *sent*: the lease lives at least its TTL from then. */
  readonly confirmedAtMs: number;
  readonly nextRenewAtMs: number;
  /** null: what the leaders before knew has not been read yet. */
  readonly memory: AuditMemory | null;
  /** What the store has, as text; null: nothing. */
  readonly stored: { readonly details: string | null; readonly memory: string | null };
}

export type RunState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'running'; readonly startedAtMs: number }
  /** Ended, and not in the store yet. */
  | { readonly kind: 'ended'; readonly publication: Publication };

export interface Publication {
  readonly summary: string;
  /** null: the audit came to no result, and what the store has stays. */
  readonly found: { readonly details: string; readonly memoryText: string; readonly memory: AuditMemory } | null;
}

/** Since the start of the process. */
export interface AuditCounts {
  readonly elections: number;
  /** Audits that came to a result. */
  readonly results: number;
  readonly failures: Readonly<Record<AuditFailure, number>>;
  /** Results that the store did not take, because the reign was over. */
  readonly refused: number;
}

export const initialAuditorState: AuditorState = {
  tenure: null,
  holder: null,
  news: null,
  nextLookAtMs: Number.NEGATIVE_INFINITY,
  run: { kind: 'idle' },
  nextRunAtMs: Number.NEGATIVE_INFINITY,
  failedRuns: 0,
  abstainUntilMs: Number.NEGATIVE_INFINITY,
  retryAtMs: Number.NEGATIVE_INFINITY,
  backoff: new Backoff(500, 500),
  lastError: null,
  failedAction: null,
  counts: {
    elections: 0,
    results: 0,
    failures: Object.fromEntries(AUDIT_FAILURES.map((cause) => [cause, 0])) as Record<AuditFailure, number>,
    refused: 0,
  },
};

/** What the settling of a step needs beside the step's outcome. */
export interface AuditMoment {
  /** Monotonic: when the call was sent, and now. */
  readonly sentAtMs: number;
  readonly nowMs: number;
  readonly wallMs: number;
  /** Evenly distributed in [0, 1). */
  readonly random: number;
  readonly ttlMs: number;
  readonly intervalMs: number;
}

/** What the store answered, or what happened beside it. */
export type AuditOutcome =
  | { readonly kind: 'looked'; readonly view: LeaderLockState }
  | { readonly kind: 'elected'; readonly term: Term }
  | { readonly kind: 'taken'; readonly by: Holder }
  | { readonly kind: 'renewed' | 'resigned' | 'stepped-down' | 'started' }
  | { readonly kind: 'recalled'; readonly view: LeaderLockState }
  | { readonly kind: 'ended'; readonly publication: Publication; readonly error: unknown }
  | { readonly kind: 'published' }
  | { readonly kind: 'deposed'; readonly of: StoreAction };

/** The state after a step; pure. */
export function settleAudit(before: AuditorState, outcome: AuditOutcome, at: AuditMoment): AuditorState {
  const state = before.failedAction === null || isAbout(outcome, before.failedAction) ? untroubled(before) : before;
  const { tenure, run } = state;
  const now = { monotonicMs: at.nowMs, wallMs: at.wallMs };
  switch (outcome.kind) {
    case 'looked': {
      const { holder, documents } = outcome.view;
      const news = heed(state.news, documents[0] ?? null, now);
      return { ...state, holder, news, nextLookAtMs: at.nowMs + lookIntervalMs(at.ttlMs, at.random) };
    }
    case 'taken':
      return { ...state, holder: outcome.by };
    case 'elected': {
      const { term: reign } = outcome;
      // A reign that is gone on with was confirmed by the look, whose time is not known here: so renew first.
      const confirmed = { confirmedAtMs: at.sentAtMs, nextRenewAtMs: at.sentAtMs };
      const fresh = { memory: null, stored: { details: null, memory: null } };
      const counts = { ...state.counts, elections: state.counts.elections + 1 };
      return { ...state, tenure: { reign, ...confirmed, ...fresh }, run: { kind: 'idle' }, counts };
    }
    case 'renewed': {
      if (!tenure) return state;
      const nextRenewAtMs = at.sentAtMs + renewIntervalMs(tenure.reign.ttlMs, at.random);
      return { ...state, tenure: { ...tenure, confirmedAtMs: at.sentAtMs, nextRenewAtMs } };
    }
    case 'recalled': {
      if (!tenure) return state;
      const [summary = null, details = null, memory = null] = outcome.view.documents;
      const news = heed(state.news, summary, now);
      // Where nobody has audited yet the fleet may be starting: each node has a TTL to come on the roll.
      const pauseMs = news.summary?.lastRun.error ? retryAfterMs(at.intervalMs) : at.intervalMs;
      const nextRunAtMs = at.nowMs + (news.run ? pauseMs - ageMs(news.run, at.nowMs) : at.ttlMs);
      const known = {
        memory: decodeMemory(memory, news.summary?.result?.finishedAt ?? null),
        stored: { details, memory },
      };
      return { ...state, news, nextRunAtMs, tenure: { ...tenure, ...known } };
    }
    case 'started':
      return {
        ...state,
        run: { kind: 'running', startedAtMs: at.nowMs },
        nextRunAtMs: at.nowMs + at.intervalMs,
      };
    case 'ended':
      return {
        ...state,
        run: { kind: 'ended', publication: outcome.publication },
        ...afterRun(state, outcome, at),
        counts: countRun(state.counts, outcome),
      };
    case 'published': {
      if (!tenure || run.kind !== 'ended') return state;
      const { summary, found } = run.publication;
      const kept = found && { memory: found.memory, stored: { details: found.details, memory: found.memoryText } };
      const news = heed(state.news, summary, now);
      return { ...state, news, run: { kind: 'idle' }, tenure: { ...tenure, ...kept } };
    }
    case 'deposed': {
      const refused = state.counts.refused + (outcome.of === 'publish' ? 1 : 0);
      return { ...reignOver(state, at), counts: { ...state.counts, refused } };
    }
    case 'resigned': {
      // As long as it takes everybody else to look.
      const abstainUntilMs = state.failedRuns > 0 ? at.nowMs + at.ttlMs : state.abstainUntilMs;
      return { ...reignOver(state, at), abstainUntilMs };
    }
    case 'stepped-down':
      return reignOver(state, at);
  }
}

/** The state after a call that failed: nothing is known about the office, only that the next call has to wait. */
export function settleAuditFailure(
  state: AuditorState,
  action: StoreAction,
  error: unknown,
  at: AuditMoment,
): AuditorState {
  // Never longer than between two renewals: a publication that is refused must not cost the reign.
  const backoff = state.failedAction === null ? new Backoff(500, at.ttlMs / 6) : state.backoff;
  return {
    ...state,
    lastError: describeError(error),
    failedAction: action,
    retryAtMs: at.nowMs + backoff.delayMs(at.random),
    backoff: backoff.next(),
  };
}

/** What the store could not answer it will not take either: that says nothing about who audits. */
function afterRun(
  { failedRuns, nextRunAtMs }: AuditorState,
  { publication, error }: { readonly publication: Publication; readonly error: unknown },
  at: AuditMoment,
): Pick<AuditorState, 'failedRuns' | 'nextRunAtMs'> {
  if (publication.found) return { failedRuns: 0, nextRunAtMs };
  const soonMs = Math.min(nextRunAtMs, at.nowMs + retryAfterMs(at.intervalMs));
  return { failedRuns: failedRuns + (auditFailure(error) === 'store' ? 0 : 1), nextRunAtMs: soonMs };
}

function reignOver(state: AuditorState, at: AuditMoment): AuditorState {
  return { ...state, tenure: null, holder: null, run: { kind: 'idle' }, failedRuns: 0, nextLookAtMs: at.nowMs };
}

/** Only its own success ends the trouble of a call; looking and leading are trouble of different times. */
function isAbout({ kind }: AuditOutcome, action: StoreAction): boolean {
  if (kind === 'looked' || kind === 'deposed' || kind === 'stepped-down') return true;
  if (action === 'campaign') return kind === 'elected' || kind === 'taken';
  const own = { look: 'looked', renew: 'renewed', recall: 'recalled', publish: 'published', resign: 'resigned' };
  return own[action] === kind;
}

function untroubled(state: AuditorState): AuditorState {
  return { ...state, retryAtMs: Number.NEGATIVE_INFINITY, lastError: null, failedAction: null };
}

function countRun(
  counts: AuditCounts,
  { publication, error }: { publication: Publication; error: unknown },
): AuditCounts {
  if (publication.found) return { ...counts, results: counts.results + 1 };
  const cause = auditFailure(error);
  return { ...counts, failures: { ...counts.failures, [cause]: counts.failures[cause] + 1 } };
}

export interface AuditPlanInput {
  /** The agent is to say goodbye and end. */
  readonly leaving: boolean;
  readonly session: string;
  /** null until it is known: a node that cannot say who it is is not put in charge. */
  readonly instanceId: string | null;
  /** Of the node's presence. */
  readonly ttlMs: number;
}

/**
 * The auditor's next step; pure. It has no end: an agent that has resigned waits to be ended with the rest.
 * @param nowMs on the monotonic clock
 */
export function planAudit(state: AuditorState, nowMs: number, input: AuditPlanInput): AuditorStep {
  const { tenure } = state;
  // Never longer: a loop that makes no step is taken for a stuck one.
  const patienceMs = nowMs + input.ttlMs / 3;
  if (input.leaving) {
    // Once only: where the store does not take it, the lease runs out.
    if (tenure && state.failedAction !== 'resign') return { action: 'resign', reason: 'leaving' };
    return { action: 'wait', untilMs: patienceMs, reason: 'leaving' };
  }
  const overMs = tenure ? tenure.confirmedAtMs + tenure.reign.ttlMs : Number.POSITIVE_INFINITY;
  if (nowMs >= overMs) {
    const silentMs = nowMs - (tenure?.confirmedAtMs ?? nowMs);
    const reason = `no confirmed renewal for ${formatDuration(silentMs)}: another agent may lead by now`;
    return { action: 'step-down', reason };
  }
  const wait = (untilMs: number, reason: string): AuditorStep => {
    return { action: 'wait', untilMs: Math.min(untilMs, patienceMs, overMs), reason };
  };
  if (nowMs < state.retryAtMs) return wait(state.retryAtMs, `retrying: ${state.lastError ?? 'the last call failed'}`);
  if (!tenure) {
    if (nowMs >= state.nextLookAtMs) return { action: 'look', reason: 'a look at who leads is due' };
    if (state.holder === null && input.instanceId === null) {
      return wait(state.nextLookAtMs, 'nobody leads, and the instance id is not known yet');
    }
    if (state.holder === null && nowMs < state.abstainUntilMs) {
      return wait(Math.min(state.nextLookAtMs, state.abstainUntilMs), 'audits failed here: others go first');
    }
    if (state.holder === null) return { action: 'campaign', reason: 'nobody leads' };
    if (state.holder.session === input.session) return { action: 'campaign', reason: 'our own reign still stands' };
    return wait(state.nextLookAtMs, `${state.holder.instanceId ?? state.holder.session} leads`);
  }
  if (nowMs >= tenure.nextRenewAtMs) return { action: 'renew', reason: 'a renewal is due' };
  if (state.run.kind === 'ended') return { action: 'publish', reason: 'an audit ended' };
  if (state.failedRuns >= MAX_FAILED_RUNS) {
    return { action: 'resign', reason: `${state.failedRuns} audits in a row failed here: another agent may do better` };
  }
  if (tenure.memory === null) return { action: 'recall', reason: 'the leaders before may have left something' };
  if (state.run.kind === 'running') return wait(tenure.nextRenewAtMs, 'an audit is under way');
  if (nowMs >= state.nextRunAtMs) return { action: 'run', reason: 'an audit is due' };
  return wait(Math.min(tenure.nextRenewAtMs, state.nextRunAtMs), 'leading; no audit is due');
}
