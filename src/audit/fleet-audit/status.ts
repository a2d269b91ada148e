import type { Logger } from 'pino';
import { formatDuration } from '../../lib/duration.ts';
import type { Holder } from '../../store/store.ts';
import { DIFFERENCE_KINDS } from '../report.ts';
import type { AuditSummary } from './documents.ts';
import { type AuditCounts, type AuditorState, type AuditorStep, ageMs, staleAfterMs } from './plan.ts';

/** What an agent can say of the standing audit at one moment, without asking anybody. */
export interface AuditStatus {
  readonly leading: boolean;
  /** null: nobody, or not known. */
  readonly leader: Holder | null;
  readonly summary: AuditSummary | null;
  /** Since the last result; null: there is none. */
  readonly ageMs: number | null;
  /** No result came for longer than two intervals and a TTL, or none is known. */
  readonly stale: boolean;
  /** Why it is stale, in one line; null where it is not. */
  readonly staleReason: string | null;
  /** Why this agent takes no part any more; null: it does. */
  readonly broken: string | null;
  readonly counts: AuditCounts;
}

/**
 * @param state with why its loop broke, if it did: who leads is not known here from then on
 * @param nowMs on the monotonic clock @param self who we are @param ttlMs of the node's presence
 */
export function auditStatus(
  state: AuditorState & { readonly broken: string | null },
  nowMs: number,
  self: Holder,
  ttlMs: number,
): AuditStatus {
  const { news, counts, broken } = state;
  const tenure = broken === null ? state.tenure : null;
  const summary = news?.summary ?? null;
  const resultAgeMs = news?.result ? ageMs(news.result, nowMs) : null;
  const limitMs = summary ? staleAfterMs(summary.intervalMs, ttlMs) : 0;
  const stale = resultAgeMs === null || resultAgeMs > limitMs;
  const leader = tenure ? self : broken === null ? state.holder : null;
  return {
    leading: tenure !== null,
    leader,
    summary,
    ageMs: resultAgeMs,
    stale,
    staleReason: stale ? `${lack(resultAgeMs, limitMs)}: ${cause(state, leader)}` : null,
    broken,
    counts,
  };
}

function lack(resultAgeMs: number | null, limitMs: number): string {
  if (resultAgeMs === null) return 'no audit has come to a result';
  return `the last result is ${formatDuration(resultAgeMs)} old, more than ${formatDuration(limitMs)}`;
}

function cause({ lastError, news, broken }: Parameters<typeof auditStatus>[0], leader: Holder | null): string {
  if (broken !== null) return `this agent's part ${broken}`;
  if (lastError !== null) return `the store: ${lastError}`;
  if (news === null) return 'the store has not been read yet';
  if (news.unreadable !== null) return `what the store has cannot be read: ${news.unreadable}`;
  const failed = news.summary?.lastRun.error;
  if (failed) return `the last audit failed: ${failed}`;
  if (!leader) return 'nobody leads yet';
  return `${leader.instanceId ?? `session ${leader.session}`} is in charge and has not delivered`;
}

/** Turns the auditor's steps into few log lines: who leads, and each change of what the audits come to. Never each retry. */
export function createAuditLog(log: Logger): (step: AuditorStep, state: AuditorState) => void {
  let last: AuditorState | null = null;
  let told: string | null = null;
  return (step, state) => {
    const before = last;
    last = state;
    if (!before || before === state) return;
    if (state.tenure && !before.tenure) log.info('this agent audits the fleet now');
    if (!state.tenure && before.tenure) log.info(`this agent does not audit the fleet any more: ${step.reason}`);
    if (state.counts.refused > before.counts.refused) {
      log.warn('the store did not take the result of an audit: another agent leads by now');
    }
    if (state.lastError !== null && before.lastError === null) {
      log.warn({ action: step.action }, `audit: cannot ${step.action}: ${state.lastError}; retrying`);
    }
    if (!state.tenure || step.action !== 'publish' || state.news === before.news) return;
    const line = lineOf(state);
    if (line !== null && line.text !== told) log[line.level](line.text);
    told = line?.text ?? told;
  };
}

function lineOf({ news }: AuditorState): { readonly level: 'info' | 'warn'; readonly text: string } | null {
  const summary = news?.summary;
  if (!summary) return null;
  if (summary.lastRun.error !== null) return { level: 'warn', text: `the audit failed: ${summary.lastRun.error}` };
  const { result } = summary;
  if (!result) return null;
  const counted = DIFFERENCE_KINDS.filter((kind) => result.differences[kind] > 0);
  if (counted.length === 0) return { level: 'info', text: 'the audit found no difference' };
  const text = counted.map((kind) => `${result.differences[kind]} ${kind}`).join(', ');
  return { level: 'warn', text: `the audit found differences: ${text}; see /v1/audit` };
}
