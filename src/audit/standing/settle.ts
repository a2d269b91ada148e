import { describeError } from '../../errors.ts';
import type { Holder, OfficeView, Reign } from '../../store/offices.ts';
import { Backoff } from '../../timing/backoff.ts';
import { auditFailure } from './audit-failure.ts';
import { ageMs, heed } from './audit-news.ts';
import { lookIntervalMs, renewIntervalMs, retryAfterMs } from './audit-timing.ts';
import type { AuditCounts, AuditorState, Publication, StoreAction } from './auditor-state.ts';
import { decodeMemory } from './stored-memory.ts';

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
  | { readonly kind: 'looked'; readonly view: OfficeView }
  | { readonly kind: 'elected'; readonly reign: Reign }
  | { readonly kind: 'taken'; readonly by: Holder }
  | { readonly kind: 'renewed' | 'resigned' | 'stepped-down' | 'started' }
  | { readonly kind: 'recalled'; readonly view: OfficeView }
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
      const { reign } = outcome;
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
