import type { HeldClaim } from '../store/drain-slots.ts';
import type { DrainPhase, DrainState } from './drain-state.ts';
import type { CauseVerdict } from './judge-cause.ts';

/** ECS's word is acted upon no later than this after it was given. */
export const FRESH_MS = 10_000;
/** How often a drained node is looked at: somebody may make it active, and its slot is then for another. */
export const LOOK_AGAIN_MS = 300_000;
const PATIENCE_MS = 3_600_000;

export interface DrainInput {
  /** null until the instance id is known. */
  readonly node: DrainNode | null;
  readonly cause: CauseVerdict;
  /** The agent is saying goodbye: nothing is begun any more, and what is drained stays so. */
  readonly leaving: boolean;
}

/** This node as its own record names it. */
export interface DrainNode {
  readonly instanceId: string;
  readonly arn: string | null;
  readonly cluster: string | null;
}

type Why = { readonly phase: DrainPhase; readonly reason: string };
type Place = { readonly arn: string; readonly cluster: string };

export type DrainStep = Why &
  (
    | { readonly action: 'wait'; readonly untilMs: number }
    | { readonly action: 'read-claim'; readonly instanceId: string }
    | { readonly action: 'take'; readonly instanceId: string; readonly place: Place; readonly cause: string }
    | { readonly action: 'describe' | 'drain' | 'activate'; readonly place: Place }
    | { readonly action: 'mark'; readonly held: HeldClaim; readonly as: 'asked' | 'drained' | 'overruled' }
    | { readonly action: 'give-back' | 'renew'; readonly held: HeldClaim; readonly leaveAlone?: string }
  );

/**
 * The next step towards a node that is drained while there is a cause, and active again afterwards if rollcall drained
 * it; pure. ECS is asked only by who has a slot, so that its limits hold however many nodes want one.
 * @param nowMs on the monotonic clock
 */
export function planDrain(state: DrainState, nowMs: number, { node, cause, leaving }: DrainInput): DrainStep {
  const wait = (phase: DrainPhase, reason: string, untilMs = Number.POSITIVE_INFINITY): DrainStep => ({
    action: 'wait',
    phase,
    reason,
    untilMs: Math.min(untilMs, cause.kind === 'stands' ? Number.POSITIVE_INFINITY : cause.untilMs, nowMs + PATIENCE_MS),
  });
  const { claim } = state;
  const drained = claim?.claim.phase === 'drained';
  const stands = cause.kind === 'stands';
  const phase: DrainPhase = drained ? 'draining' : stands ? 'waiting' : 'idle';
  if (leaving) return wait(phase, 'leaving: what is drained stays drained');
  if (!node) return wait('idle', 'the instance id is not known yet');
  if (nowMs < state.retryAtMs) return wait(phase, state.retryReason, state.retryAtMs);
  if (claim === undefined) {
    return {
      action: 'read-claim',
      instanceId: node.instanceId,
      phase,
      reason: 'not known whether this node has a slot',
    };
  }
  const place = node.arn !== null && node.cluster !== null ? { arn: node.arn, cluster: node.cluster } : null;
  if (claim) return planHeld(state, claim, nowMs, place, cause, wait);
  if (!stands) return wait('idle', cause.kind === 'over' ? 'nothing to drain for' : cause.reason);
  if (!place) return wait('waiting', 'ecs-agent has not registered this node yet');
  if (state.leftAloneArn === place.arn) return wait('left-alone', 'somebody else drained this node, or undid it');
  if (nowMs < state.refusedUntilMs) return wait('waiting', refusal(state), state.refusedUntilMs);
  return { action: 'take', instanceId: node.instanceId, place, cause: cause.reason, phase, reason: cause.reason };
}

function planHeld(
  state: DrainState,
  held: HeldClaim,
  nowMs: number,
  place: Place | null,
  cause: CauseVerdict,
  wait: (phase: DrainPhase, reason: string, untilMs?: number) => DrainStep,
): DrainStep {
  const { claim } = held;
  const phase: DrainPhase =
    claim.phase === 'drained' ? 'draining' : claim.phase === 'overruled' ? 'left-alone' : 'waiting';
  // Whatever else is not known: a claim that nobody renews frees a slot of a node that is still drained.
  if (nowMs >= state.renewAtMs) return { action: 'renew', held, phase, reason: 'the claim is to be renewed' };
  if (!place) return wait(phase, 'ecs-agent has not registered this node yet', state.renewAtMs);
  if (claim.arn !== place.arn) {
    return { action: 'give-back', held, phase: 'idle', reason: 'ecs-agent registered this node anew' };
  }
  if (claim.phase === 'overruled') {
    if (cause.kind === 'over') return { action: 'give-back', held, phase: 'idle', reason: 'the cause is over' };
    return wait(phase, 'somebody made this node active again', state.renewAtMs);
  }
  const seen = state.status?.arn === place.arn ? state.status : null;
  const fresh = seen !== null && nowMs <= seen.atMs + FRESH_MS;
  if (nowMs < state.refusedUntilMs) {
    const begun = claim.phase === 'drained' || (claim.phase === 'asked' && !state.drainDenied);
    if (!begun)
      return { action: 'give-back', held, phase: cause.kind === 'stands' ? 'waiting' : 'idle', reason: refusal(state) };
    return wait(phase, refusal(state), Math.min(state.refusedUntilMs, state.renewAtMs));
  }
  const look: DrainStep = { action: 'describe', place, phase, reason: 'not known what ECS makes of this node' };
  if (cause.kind === 'over') {
    if (!fresh) return look;
    if (claim.phase !== 'claimed' && seen.text === 'DRAINING') {
      return { action: 'activate', place, phase, reason: 'the cause is over' };
    }
    return {
      action: 'give-back',
      held,
      phase: 'idle',
      reason: `the cause is over, and ECS has this node ${seen.text}`,
    };
  }
  if (claim.phase === 'drained') {
    if (!seen || nowMs >= seen.atMs + LOOK_AGAIN_MS) return look;
    if (seen.text === 'ACTIVE' && state.activatedArn === place.arn) {
      // A cause that came back meanwhile is another: for it a slot has to be free.
      const after: DrainPhase = cause.kind === 'stands' ? 'waiting' : 'idle';
      return { action: 'give-back', held, phase: after, reason: 'the cause was over, and this node is ACTIVE again' };
    }
    if (seen.text === 'ACTIVE') {
      return {
        action: 'mark',
        held,
        as: 'overruled',
        phase: 'left-alone',
        reason: 'somebody made this node active again',
      };
    }
    return wait(phase, claim.reason, Math.min(state.renewAtMs, seen.atMs + LOOK_AGAIN_MS));
  }
  if (!fresh) return look;
  if (seen.text === 'DRAINING') {
    if (claim.phase === 'asked') {
      return { action: 'mark', held, as: 'drained', phase: 'draining', reason: claim.reason };
    }
    const reason = 'somebody else drained this node already';
    return { action: 'give-back', held, leaveAlone: place.arn, phase: 'left-alone', reason };
  }
  if (cause.kind !== 'stands') return { action: 'give-back', held, phase: 'idle', reason: cause.reason };
  if (seen.text === 'ACTIVE' && claim.phase === 'asked') return { action: 'drain', place, phase, reason: claim.reason };
  if (seen.text === 'ACTIVE') {
    // In the store before ECS is asked: whoever comes after us knows whose drain it is.
    return { action: 'mark', held, as: 'asked', phase, reason: claim.reason };
  }
  return {
    action: 'give-back',
    held,
    phase,
    reason: `ECS has this node ${seen.text}: only an ACTIVE one can be drained`,
  };
}

function refusal({ lastError }: DrainState): string {
  return `ECS refused: ${lastError ?? 'no reason given'}`;
}
