import { formatDuration } from '../../lib/duration.ts';
import type { Log } from '../../lib/log.ts';
import type { Holder } from '../../store/leader-lock.ts';
import { DIFFERENCE_KINDS } from '../audit-report.ts';
import type { AuditSummary } from './documents.ts';
import type { AuditCounts, AuditorState, AuditorStep } from './fleet-audit-plan.ts';
import { ageMs, staleAfterMs } from './summary-copy.ts';

/** What an agent can say of the continuous audit at one moment, without a request. */
export interface AuditStatus {
  readonly leading: boolean;
  /** null: there is none, or it is not known. */
  readonly leader: Holder | null;
  readonly summary: AuditSummary | null;
  /** Since the last result; null: there is none. */
  readonly ageMs: number | null;
  /** The last result is older than two intervals and a TTL, or there is none. */
  readonly stale: boolean;
  /** Why it is stale, in one line; null: it is not. */
  readonly staleReason: string | null;
  /** Why this agent no longer takes part; null: it does. */
  readonly broken: string | null;
  readonly counts: AuditCounts;
}

/**
 * @param state with why its loop broke, if it did: from then on the leader is not known here
 * @param nowMs on the monotonic clock @param self this agent
 */
export function auditStatus(
  state: AuditorState & { readonly broken: string | null },
  nowMs: number,
  self: Holder,
): AuditStatus {
  const { copy, counts, broken } = state;
  const leading = broken === null && state.leadership !== null;
  const summary = copy?.summary ?? null;
  const resultAgeMs = copy?.result ? ageMs(copy.result, nowMs) : null;
  const limitMs = summary ? staleAfterMs(summary.intervalMs, state.ttlMs) : 0;
  const stale = resultAgeMs === null || resultAgeMs > limitMs;
  const leader = leading ? self : broken === null ? state.holder : null;
  return {
    leading,
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
  if (resultAgeMs === null) return 'no audit has succeeded yet';
  return `the last result is ${formatDuration(resultAgeMs)} old, more than ${formatDuration(limitMs)}`;
}

function cause({ trouble, copy, broken }: Parameters<typeof auditStatus>[0], leader: Holder | null): string {
  if (broken !== null) return `the auditor of this agent ${broken}`;
  if (trouble.error !== null) return `the store: ${trouble.error}`;
  if (copy === null) return 'the store has not been read yet';
  if (copy.unreadable !== null) return `the summary in the store cannot be read: ${copy.unreadable}`;
  const failed = copy.summary?.lastRun.error;
  if (failed) return `the last audit failed: ${failed}`;
  if (!leader) return 'no agent leads yet';
  return `${leader.instanceId ?? `session ${leader.session}`} leads and has written no newer result`;
}

/** Turns the auditor's steps into few log lines: the leader, and each change of what the audits find. Never each retry. */
export function createAuditLog(log: Log): (step: AuditorStep, state: AuditorState) => void {
  let last: AuditorState | null = null;
  let logged: string | null = null;
  return (step, state) => {
    const before = last;
    last = state;
    if (!before || before === state) return;
    if (state.leadership && !before.leadership) log.info('this agent audits the fleet now');
    if (!state.leadership && before.leadership) log.info(`this agent no longer audits the fleet: ${step.reason}`);
    if (state.counts.refused > before.counts.refused) {
      log.warn('the store refused the result of an audit: another agent leads by now');
    }
    const { error } = state.trouble;
    if (error !== null && before.trouble.error === null) {
      log.warn({ action: step.action }, `audit: cannot ${step.action}: ${error}; retrying`);
    }
    if (!state.leadership || step.action !== 'publish' || state.copy === before.copy) return;
    const line = lineOf(state);
    if (line !== null && line.text !== logged) log[line.level](line.text);
    logged = line?.text ?? logged;
  };
}

function lineOf({ copy }: AuditorState): { readonly level: 'info' | 'warn'; readonly text: string } | null {
  const summary = copy?.summary;
  if (!summary) return null;
  if (summary.lastRun.error !== null) return { level: 'warn', text: `the audit failed: ${summary.lastRun.error}` };
  const { result } = summary;
  if (!result) return null;
  const counted = DIFFERENCE_KINDS.filter((kind) => result.differences[kind] > 0);
  const { undecided } = result;
  if (counted.length === 0 && undecided === 0) return { level: 'info', text: 'the audit found no difference' };
  if (counted.length === 0) {
    return { level: 'warn', text: `the audit found no difference, and could not tell for ${undecided}; see /v1/audit` };
  }
  const text = counted.map((kind) => `${result.differences[kind]} ${kind}`);
  const unsure = undecided === 0 ? [] : [`${undecided} undecided`];
  return { level: 'warn', text: `the audit found differences: ${[...text, ...unsure].join(', ')}; see /v1/audit` };
}
