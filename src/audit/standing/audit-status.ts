import type { Holder } from '../../store/offices.ts';
import { formatDuration } from '../../timing/duration.ts';
import { ageMs } from './audit-news.ts';
import type { AuditSummary } from './audit-summary.ts';
import { staleAfterMs } from './audit-timing.ts';
import type { AuditCounts, AuditorState } from './auditor-state.ts';

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
