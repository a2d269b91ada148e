import type { Described } from '../../ecs/ecs-api.ts';
import { isRefusal } from '../../ecs/ecs-errors.ts';
import { statusInEcs } from '../../ecs/list-instances.ts';
import { type Apply, afterFailure, type Call, type CallEnd, withoutError } from '../../lib/control-loop.ts';
import { type DrainAnswers, type DrainState, type DrainStep, initialDrainState, type Place } from './drain-plan.ts';

/** A claim lives for 24 h at least from its last renewal. */
const RENEW_INTERVAL_MS = 7_200_000;
/** After a slot was given back: it is for others first. */
const STEP_BACK_MS = 3_000;

/** The state after each answer; pure. */
export const applyDrain: Apply<DrainState, DrainStep, DrainAnswers> = {
  'read-claim': (state, { between }, claim, { nowMs }) => {
    // The age of a lease that this process has not renewed is not known: it is renewed at once.
    const isKnown = claim !== null && claim.lease === state.claim?.lease;
    // Read in its turn, not between tries of another call that fail.
    const now = state.claim === undefined || between ? withoutLastError(state) : recovered(state);
    const since = isKnown ? {} : { renewAtMs: nowMs, claimSinceMs: nowMs };
    return { ...now, claim, claimReadAtMs: nowMs, ...since };
  },
  take(before, _, outcome, end) {
    const state = withoutLastError(before);
    if (outcome.kind === 'taken') {
      const times = { claimReadAtMs: end.nowMs, claimSinceMs: end.nowMs, renewAtMs: renewAtMs(end) };
      return { ...recovered(state), claim: outcome.held, ...times, status: null };
    }
    if (outcome.kind === 'full' && outcome.keepsLockMs !== null) {
      // In time to keep the admission lock, and no sooner than the other agents come: each try reads the roll.
      const retryAtMs = end.nowMs + (outcome.keepsLockMs / 3) * (1 + end.random / 2);
      return { ...state, trouble: { ...state.trouble, retryAtMs }, pauseReason: outcome.reason };
    }
    // Why it waits stays what it was while another agent is served: that is over in a moment.
    const reason = before.trouble.error === null ? before.pauseReason : '';
    const pauseReason = outcome.kind === 'full' ? outcome.reason : reason || 'another node takes a slot';
    const { backoff } = state.trouble;
    const retryAtMs = end.nowMs + backoff.delayMs(end.random);
    return { ...state, trouble: { ...state.trouble, retryAtMs, backoff: backoff.next() }, pauseReason };
  },
  describe(before, { place, instanceId }, described, { nowMs }) {
    const state = withStatus(withoutLastError(before), place, instanceId, described, nowMs);
    const activatedArn = state.status?.text === 'DRAINING' ? null : state.activatedArn;
    const canDrain = state.status?.text === 'ACTIVE' || state.status?.text === 'DRAINING';
    const standOff = canDrain ? initialDrainState.standOff : state.standOff;
    return { ...state, activatedArn, refusal: withoutError(state.refusal), standOff };
  },
  drain: (state, { place, instanceId }, described, { nowMs }) => ({
    ...withStatus(recovered(state), place, instanceId, described, nowMs),
    drainDenied: false,
    refusal: initialDrainState.refusal,
  }),
  activate: (state, { place, instanceId }, described, { nowMs }) => ({
    ...withStatus(recovered(state), place, instanceId, described, nowMs),
    activatedArn: place.arn,
    refusal: initialDrainState.refusal,
  }),
  mark: (state, _, claim, { nowMs }) => ({
    ...withoutLastError(state),
    claim: claim ?? undefined,
    claimReadAtMs: nowMs,
  }),
  renew: (state, _, alive, end) => ({
    ...withoutLastError(state),
    ...(alive ? { renewAtMs: renewAtMs(end) } : { claim: undefined }),
  }),
  'give-back'(before, { leaveAlone, standOff: from, reason }, done, { nowMs, random }) {
    const state = withoutLastError(before);
    const trouble = { ...state.trouble, retryAtMs: nowMs + STEP_BACK_MS * (1 + random) };
    // Replaced by an operator meanwhile: what is stored now is read.
    const nothing = { claim: done ? null : undefined, status: null, drainDenied: false, activatedArn: null };
    const given = {
      ...state,
      ...nothing,
      leftAloneArn: leaveAlone ?? state.leftAloneArn,
      trouble,
      pauseReason: reason,
    };
    if (!from) return given;
    const { standOff: last } = state;
    const backoff = last.from?.arn === from.arn ? last.backoff : last.backoff.reset();
    const untilMs = nowMs + backoff.delayMs((1 + random) / 2);
    return { ...given, standOff: { from, reason, untilMs, backoff: backoff.next() } };
  },
  forget: (state) => ({ ...state, leftAloneArn: null }),
};

/** The state after a call that failed; pure. What it was to write may have been written. */
export function applyDrainFailure(before: DrainState, call: Call<DrainStep>, error: unknown, end: CallEnd): DrainState {
  const { action } = call;
  const refused = isRefusal(error);
  const state = { ...before, status: null };
  // What ECS was asked counts as done, unless ECS refused it.
  if (action === 'drain') state.drainDenied = refused;
  if (action === 'activate') state.activatedArn = refused ? null : call.place.arn;
  if (refused) {
    // Never at once: an operator has to do something first.
    const refusal = afterFailure(state.refusal, action, error, { ...end, random: (1 + end.random) / 2 });
    return { ...state, refusal };
  }
  // A write without an answer: whether it happened is asked before anything else.
  const claim = action === 'mark' || action === 'take' || action === 'give-back' ? undefined : state.claim;
  return { ...state, claim, trouble: afterFailure(state.trouble, action, error, end) };
}

/** An answer alone does not make the next pause short again: reading the claim or the status succeeds between tries that fail. */
function withoutLastError(state: DrainState): DrainState {
  return { ...state, trouble: withoutError(state.trouble) };
}

function recovered(state: DrainState): DrainState {
  return { ...state, trouble: initialDrainState.trouble };
}

function withStatus(
  state: DrainState,
  { arn }: Place,
  instanceId: string,
  described: Described,
  atMs: number,
): DrainState {
  return { ...state, status: { arn, text: statusInEcs(described, arn, instanceId), atMs } };
}

function renewAtMs({ nowMs, random }: CallEnd): number {
  return nowMs + RENEW_INTERVAL_MS * (1 - random / 10);
}
