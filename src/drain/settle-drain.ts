import type { Described } from '../ecs/ecs-api.ts';
import { isRefusal } from '../ecs/is-refusal.ts';
import { describeError } from '../errors.ts';
import type { HeldClaim, TakeOutcome } from '../store/drain-slots.ts';
import { type DrainState, initialDrainState } from './drain-state.ts';
import type { CauseVerdict } from './judge-cause.ts';
import type { DrainStep } from './plan-drain.ts';

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
      if (outcome.kind === 'full' && outcome.keepsDoorMs !== null) {
        // In time to keep it, and no sooner than the others come: for each look it reads the roll.
        const retryAtMs = nowMs + (outcome.keepsDoorMs / 3) * (1 + random / 2);
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
