import { formatDuration } from '../timing/duration.ts';
import { departureCause } from './departure-cause.ts';
import type { Desired, PublisherState } from './publisher-state.ts';
import type { Step } from './step.ts';

export interface PlanInput {
  /** null until the instance id is known. */
  readonly desired: Desired | null;
  /** The agent is to say goodbye and end. */
  readonly leaving: boolean;
  readonly ttlMs: number;
}

/**
 * The publisher's next step; pure. Beats go before updates: a late update is a late update, a late beat is a false death.
 * @param nowMs on the monotonic clock
 */
export function plan(state: PublisherState, nowMs: number, input: PlanInput): Step {
  const { desired, leaving, ttlMs } = input;
  const patienceMs = nowMs + ttlMs / 3;
  if (state.phase === 'superseded') {
    return { action: 'done', reason: `session ${state.supersededBy} took the seat of this node` };
  }
  if (state.phase === 'departed') return { action: 'done', reason: 'departed' };
  if (leaving) {
    if (!state.hold) return { action: 'done', reason: 'left before it was registered' };
    // Only a departure that failed has to wait: the pause after a failed beat says nothing about the store now.
    if (nowMs < state.retryAtMs && state.failedAction === 'depart') return waitToRetry(state, patienceMs);
    return { action: 'depart', reason: `leaving: ${desired ? departureCause(desired.record) : 'stopped'}` };
  }
  if (!desired) return { action: 'wait', untilMs: patienceMs, reason: 'the instance id is not known yet' };
  if (nowMs < state.retryAtMs) return waitToRetry(state, patienceMs);
  if (state.phase === 'unregistered') return { action: 'register', takeover: true, reason: 'not registered yet' };
  if (state.phase === 'lost') return { action: 'register', takeover: false, reason: 'the presence lease was lost' };
  if (leaseOverdue(state, nowMs)) {
    const silentMs = nowMs - state.beatAtMs;
    const reason = `no confirmed beat for ${formatDuration(silentMs)}: the presence lease is presumed lost`;
    return { action: 'register', takeover: false, reason };
  }
  if (nowMs >= state.nextBeatAtMs) return { action: 'renew', reason: 'a beat is due' };
  const retentionDue = nowMs >= state.nextRetentionBeatAtMs;
  // Before the update, since one that is refused stays due; after it, where the retention beat is what fails.
  const first = retentionDue && state.failedAction !== 'renew-retention';
  if (desired.json !== state.publishedJson && !first) return { action: 'update', reason: 'the record changed' };
  if (retentionDue) return { action: 'renew-retention', reason: 'a retention beat is due' };
  const untilMs = Math.min(state.nextBeatAtMs, state.nextRetentionBeatAtMs, patienceMs);
  return { action: 'wait', untilMs, reason: 'registered, nothing to write' };
}

/** True once the store may have ended the presence lease without our hearing of it. */
export function leaseOverdue(state: PublisherState, nowMs: number): boolean {
  return state.hold !== null && nowMs >= state.beatAtMs + state.hold.ttlMs;
}

/** Never longer than `patienceMs`: a loop that makes no step is taken for a stuck one. */
function waitToRetry(state: PublisherState, patienceMs: number): Step {
  const untilMs = Math.min(state.retryAtMs, patienceMs);
  return { action: 'wait', untilMs, reason: `retrying: ${state.lastError ?? 'the last call failed'}` };
}
