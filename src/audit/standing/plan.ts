import { formatDuration } from '../../timing/duration.ts';
import { MAX_FAILED_RUNS } from './audit-timing.ts';
import type { AuditorState, AuditorStep } from './auditor-state.ts';

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
