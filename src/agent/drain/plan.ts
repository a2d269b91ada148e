import type { Described } from '../../ecs/ecs-api.ts';
import { isRefusal } from '../../ecs/errors.ts';
import type { DrainPhase } from '../../http/agent-report.ts';
import { Backoff } from '../../lib/backoff.ts';
import { describeError } from '../../lib/errors.ts';
import type { HeldClaim, TakeOutcome } from '../../store/store.ts';
import type { CauseVerdict } from './cause.ts';

/** What the drain loop knows. Instants are on the monotonic clock. */
export interface DrainState {
  /** null: this node has none; undefined: not known. */
  readonly claim: HeldClaim | null | undefined;
  readonly renewAtMs: number;
  /** As ECS described it last; null: not looked at, or not any more. */
  readonly status: { readonly arn: string; readonly text: string; readonly atMs: number } | null;
  /** ECS said no when it was asked to drain: it did not. */
  readonly drainDenied: boolean;
  /** ECS was asked to make this one ACTIVE again by this process, whatever it answered. */
  readonly activatedArn: string | null;
  /** Somebody else drained this container instance, or undid it, and the cause still stands. */
  readonly leftAloneArn: string | null;
  /** No call before this instant, and why; for people. */
  readonly retryAtMs: number;
  readonly retryReason: string;
  readonly backoff: Backoff;
  /** ECS said no: it is not asked before this instant, and meanwhile no slot is held for nothing. */
  readonly refusedUntilMs: number;
  readonly refusals: Backoff;
  /** null while calls succeed. */
  readonly lastError: string | null;
}

/** A spot instance has two minutes. */
const RETRY = new Backoff(1_000, 30_000);
/** Somebody has to change a policy first. */
const REFUSED = new Backoff(300_000, 1_800_000);

export const initialDrainState: DrainState = {
  claim: undefined,
  renewAtMs: Number.POSITIVE_INFINITY,
  status: null,
  drainDenied: false,
  activatedArn: null,
  leftAloneArn: null,
  retryAtMs: Number.NEGATIVE_INFINITY,
  retryReason: '',
  backoff: RETRY,
  refusedUntilMs: Number.NEGATIVE_INFINITY,
  refusals: REFUSED,
  lastError: null,
};

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

export type DrainCall = Exclude<DrainStep, { readonly action: 'wait' }>;

/** What a call was answered with. */
export type DrainAnswer =
  | { readonly action: 'read-claim'; readonly claim: HeldClaim | null }
  | { readonly action: 'take'; readonly outcome: TakeOutcome }
  | { readonly action: 'describe' | 'drain' | 'activate'; readonly arn: string; readonly described: Described }
  /** null, false: the claim is gone, or another by now. */
  | { readonly action: 'mark'; readonly claim: HeldClaim | null }
  | { readonly action: 'renew'; readonly alive: boolean; readonly held: HeldClaim }
  | { readonly action: 'give-back'; readonly leaveAlone: string | null; readonly reason: string };

/** A claim lives for 24 h from its last renewal. */
const RENEW_INTERVAL_MS = 7_200_000;
/** After a slot was given back: it is for others first. */
const STEP_BACK_MS = 3_000;

/** The state after an answer; pure. @param random evenly distributed in [0, 1) */
export function settleDrain(state: DrainState, answer: DrainAnswer, nowMs: number, random: number): DrainState {
  const calm: DrainState = { ...state, lastError: null, retryAtMs: Number.NEGATIVE_INFINITY };
  const renewAtMs = nowMs + RENEW_INTERVAL_MS * (1 - random / 10);
  switch (answer.action) {
    case 'read-claim':
      // How old it is nobody says: it is renewed at once.
      return { ...calm, claim: answer.claim, renewAtMs: nowMs };
    case 'take': {
      const { outcome } = answer;
      if (outcome.kind === 'taken') {
        return { ...calm, claim: outcome.held, renewAtMs, status: null, backoff: calm.backoff.reset() };
      }
      if (outcome.kind === 'full' && outcome.keepsLockMs !== null) {
        // In time to keep it, and no sooner than the others come: for each look it reads the roll.
        const retryAtMs = nowMs + (outcome.keepsLockMs / 3) * (1 + random / 2);
        return { ...calm, retryAtMs, retryReason: outcome.reason };
      }
      // Why it waits stays what it was while another is served: that is over in a moment.
      const before = state.lastError === null ? state.retryReason : '';
      const retryReason = outcome.kind === 'full' ? outcome.reason : before || 'another node takes a slot';
      return { ...calm, ...pause(calm, retryReason, nowMs, random) };
    }
    case 'describe':
    case 'drain':
    case 'activate': {
      const { arn, described } = answer;
      const seen = described.instances.find((each) => each.containerInstanceArn === arn);
      const text = seen?.status ?? described.failures[0]?.reason ?? 'MISSING';
      const known = { ...calm, status: { arn, text, atMs: nowMs }, backoff: calm.backoff.reset() };
      const allowed = { ...known, refusals: initialDrainState.refusals, refusedUntilMs: Number.NEGATIVE_INFINITY };
      if (answer.action === 'describe') {
        const activatedArn = text === 'DRAINING' ? null : known.activatedArn;
        return { ...known, activatedArn, refusedUntilMs: Number.NEGATIVE_INFINITY };
      }
      return allowed;
    }
    case 'mark':
      return { ...calm, claim: answer.claim ?? undefined };
    case 'renew':
      return answer.alive ? { ...calm, renewAtMs } : { ...calm, claim: undefined };
    case 'give-back': {
      const leftAloneArn = answer.leaveAlone ?? state.leftAloneArn;
      const retryAtMs = nowMs + STEP_BACK_MS * (1 + random);
      // Not `calm`: the store's answer says nothing of what ECS refused.
      const { reason: retryReason } = answer;
      const none = { claim: null, status: null, drainDenied: false, activatedArn: null };
      return { ...state, ...none, leftAloneArn, retryAtMs, retryReason };
    }
  }
}

/** The state after a call that failed; pure. What it was to write may have been written. */
export function settleDrainFailure(
  state: DrainState,
  { action }: DrainCall,
  error: unknown,
  nowMs: number,
  random: number,
): DrainState {
  const lastError = describeError(error);
  if (isRefusal(error)) {
    const refusedUntilMs = nowMs + state.refusals.delayMs((1 + random) / 2);
    const drainDenied = action === 'drain' || state.drainDenied;
    const activatedArn = action === 'activate' ? null : state.activatedArn;
    const denied = { drainDenied, activatedArn };
    return { ...state, lastError, status: null, ...denied, refusedUntilMs, refusals: state.refusals.next() };
  }
  // A write without an answer: whether it happened is asked before anything else.
  const claim = action === 'mark' || action === 'take' || action === 'give-back' ? undefined : state.claim;
  return { ...state, claim, status: null, lastError, ...pause(state, `retrying: ${lastError}`, nowMs, random) };
}

/** Before a call: what ECS was asked is true from here on, whatever it answers. */
export function beginDrain(state: DrainState, call: DrainCall): DrainState {
  if (call.action === 'drain') return { ...state, drainDenied: false };
  return call.action === 'activate' ? { ...state, activatedArn: call.place.arn } : state;
}

/** Once there is no cause any more, what was left alone for it is not remembered for the next. */
export function forgetCause(state: DrainState, cause: CauseVerdict): DrainState {
  if (cause.kind !== 'over' || state.leftAloneArn === null) return state;
  return { ...state, leftAloneArn: null };
}

function pause(state: DrainState, retryReason: string, nowMs: number, random: number): Partial<DrainState> {
  return { retryAtMs: nowMs + state.backoff.delayMs(random), retryReason, backoff: state.backoff.next() };
}
