import type { Described } from '../../ecs/ecs-api.ts';
import { whyNotActive } from '../../ecs/list-instances.ts';
import type { DrainPhase } from '../../http/agent-report.ts';
import { Backoff } from '../../lib/backoff.ts';
import { type Call, noTrouble, retryReason, type Trouble, type Wait } from '../../lib/control-loop.ts';
import type { HeldClaim, TakeOutcome } from '../../store/drain-slots.ts';
import type { CauseVerdict } from './cause.ts';

type Why = { readonly phase: DrainPhase; readonly reason: string };
export type Place = { readonly arn: string; readonly cluster: string };

export type DrainStep = Why &
  (
    | Wait
    /** `between`: for another call, which may have failed before; not in its turn. */
    | { readonly action: 'read-claim'; readonly instanceId: string; readonly between?: true }
    | { readonly action: 'take'; readonly instanceId: string; readonly place: Place; readonly cause: string }
    | { readonly action: 'describe' | 'drain' | 'activate'; readonly instanceId: string; readonly place: Place }
    | {
        readonly action: 'mark';
        readonly held: HeldClaim;
        readonly as: 'asked' | 'drained' | 'overruled' | 'activating';
      }
    | { readonly action: 'renew'; readonly held: HeldClaim }
    | {
        readonly action: 'give-back';
        readonly held: HeldClaim;
        readonly leaveAlone?: string;
        /** The node cannot be drained for this cause now: no slot is taken for it for a while. */
        readonly standOff?: NonNullable<StandOff['from']>;
      }
    /** Asks nothing: what was left alone for a cause that is over is not remembered for the next cause. */
    | { readonly action: 'forget' }
  );

export interface DrainAnswers {
  readonly 'read-claim': HeldClaim | null;
  readonly take: TakeOutcome;
  readonly describe: Described;
  readonly drain: Described;
  readonly activate: Described;
  /** null: the claim is gone, or another by now. */
  readonly mark: HeldClaim | null;
  /** False: the claim is gone. */
  readonly renew: boolean;
  /** False: the claim is gone, or another by now. */
  readonly 'give-back': boolean;
  readonly forget: unknown;
}

/** A pause before a slot is taken again, which grows while ECS has the node neither ACTIVE nor DRAINING, or does not answer. */
interface StandOff {
  /** Another container instance or another cause does not wait. */
  readonly from: { readonly arn: string; readonly cause: string } | null;
  /** One line. */
  readonly reason: string;
  readonly untilMs: number;
  readonly backoff: Backoff;
}

type DrainTrouble = Trouble<Call<DrainStep>['action']>;

/** What the drain loop knows. Instants are on the monotonic clock. */
export interface DrainState {
  /** null: this node has none; undefined: not known. */
  readonly claim: HeldClaim | null | undefined;
  readonly renewAtMs: number;
  /** When the claim was last read. */
  readonly claimReadAtMs: number;
  /** The container instance's status as ECS described it last; null: not read, or too old by what happened since. */
  readonly status: { readonly arn: string; readonly text: string; readonly atMs: number } | null;
  /** ECS refused the last request to drain, so that it did not drain. */
  readonly drainDenied: boolean;
  /** The container instance that this process asked ECS to make ACTIVE again, whatever ECS answered. */
  readonly activatedArn: string | null;
  /** Drained, or made active again, by something other than rollcall; and the cause still stands. */
  readonly leftAloneArn: string | null;
  /** Also of pauses in which nothing failed: until a slot may be free. */
  readonly trouble: DrainTrouble;
  /** Why no call is made before `trouble.retryAtMs` where nothing failed; for people. */
  readonly pauseReason: string;
  /** ECS denied it: ECS is not asked before `retryAtMs`, and meanwhile no slot is held for nothing. */
  readonly refusal: DrainTrouble;
  readonly standOff: StandOff;
  /** Since when this process knows its claim; its slot is kept for no longer than `ASK_MS` while ECS does not answer. */
  readonly claimSinceMs: number;
}

/** A spot instance has two minutes. */
const RETRY = new Backoff(1_000, 30_000);
/** An operator has to change a policy first. */
const REFUSED = new Backoff(300_000, 1_800_000);
/** ECS knows a node that it registers within seconds; one that was deregistered by hand it may never know again. */
const STAND_OFF = new Backoff(10_000, 600_000);
/** A slot is kept so long for a node whose status ECS does not say. */
export const ASK_MS = 30_000;

export const initialDrainState: DrainState = {
  claim: undefined,
  renewAtMs: Number.POSITIVE_INFINITY,
  claimReadAtMs: Number.NEGATIVE_INFINITY,
  status: null,
  drainDenied: false,
  activatedArn: null,
  leftAloneArn: null,
  trouble: noTrouble(RETRY),
  pauseReason: '',
  refusal: noTrouble(REFUSED),
  standOff: { from: null, reason: '', untilMs: Number.NEGATIVE_INFINITY, backoff: STAND_OFF },
  claimSinceMs: Number.NEGATIVE_INFINITY,
};

/** A status is acted upon no later than this after it was read. */
export const FRESH_MS = 10_000;
/** How often the status of a drained node is read: an operator may make it active, and its slot is then for another. */
export const READ_AGAIN_MS = 300_000;
/** How often the claim is read, also where there is none: an operator makes, replaces and ends it without a word. */
export const READ_CLAIM_MS = 300_000;
/** The same of an operator's claim. */
export const READ_MANUAL_MS = 30_000;
const LONGEST_WAIT_MS = 3_600_000;

export interface DrainInput {
  /** null until the instance id is known. */
  readonly node: DrainNode | null;
  readonly cause: CauseVerdict;
  /** The agent is deregistering: nothing is begun any more, and what is drained stays so. */
  readonly leaving: boolean;
}

/** This node as its own record names it. */
interface DrainNode {
  readonly instanceId: string;
  readonly arn: string | null;
  readonly cluster: string | null;
}

/**
 * The next step towards a node that is drained while there is a cause, and active again afterwards if rollcall drained
 * it; pure. Only an agent that has a slot asks ECS, so that ECS's limits hold however many nodes want a slot.
 * @param nowMs on the monotonic clock
 */
export function planDrain(state: DrainState, nowMs: number, { node, cause, leaving }: DrainInput): DrainStep {
  const wait = (phase: DrainPhase, reason: string, untilMs = Number.POSITIVE_INFINITY): DrainStep => ({
    action: 'wait',
    phase,
    reason,
    untilMs: Math.min(
      untilMs,
      cause.kind === 'stands' ? Number.POSITIVE_INFINITY : cause.untilMs,
      nowMs + LONGEST_WAIT_MS,
    ),
  });
  const { claim, trouble } = state;
  const stands = cause.kind === 'stands';
  const phase = (claim && HELD_PHASES[claim.claim.phase]) ?? (stands ? 'waiting' : 'idle');
  if (leaving) return wait(phase, 'the agent ends; a drained node stays drained');
  if (!node) return wait('idle', 'the instance id is not known yet');
  if (cause.kind === 'over' && state.leftAloneArn !== null) {
    return { action: 'forget', phase, reason: 'the cause is over' };
  }
  if (nowMs < trouble.retryAtMs) {
    return wait(phase, trouble.error === null ? state.pauseReason : retryReason(trouble), trouble.retryAtMs);
  }
  if (claim === undefined) {
    const reason = 'not known whether this node has a slot';
    return { action: 'read-claim', instanceId: node.instanceId, phase, reason };
  }
  const { instanceId } = node;
  const place = node.arn !== null && node.cluster !== null ? { arn: node.arn, cluster: node.cluster } : null;
  const step = claim
    ? planHeld(state, claim, nowMs, place, cause, wait)
    : planFree(state, nowMs, instanceId, place, cause, wait);
  if (step.action !== 'wait') return step;
  const readAtMs = state.claimReadAtMs + (claim?.claim.phase === 'manual' ? READ_MANUAL_MS : READ_CLAIM_MS);
  if (nowMs < readAtMs) return { ...step, untilMs: Math.min(step.untilMs, readAtMs) };
  return { action: 'read-claim', instanceId, phase: step.phase, reason: step.reason };
}

type WaitFor = (phase: DrainPhase, reason: string, untilMs?: number) => DrainStep;

function planFree(
  { leftAloneArn, refusal, standOff }: DrainState,
  nowMs: number,
  instanceId: string,
  place: Place | null,
  cause: CauseVerdict,
  wait: WaitFor,
): DrainStep {
  if (cause.kind !== 'stands') return wait('idle', cause.kind === 'over' ? 'nothing to drain for' : cause.reason);
  if (!place) return wait('waiting', 'ecs-agent has not registered this node yet');
  if (leftAloneArn === place.arn)
    return wait('left-alone', 'something other than rollcall drained this node, or undid it');
  if (nowMs < refusal.retryAtMs) return wait('waiting', refusalReason(refusal), refusal.retryAtMs);
  if (nowMs < standOff.untilMs && standOff.from?.arn === place.arn && standOff.from.cause === cause.key) {
    return wait('waiting', standOff.reason, standOff.untilMs);
  }
  return { action: 'take', instanceId, place, cause: cause.reason, phase: 'waiting', reason: cause.reason };
}

/** What a claim alone says of this node; null: whether a cause stands decides. */
const HELD_PHASES: Readonly<Record<HeldClaim['claim']['phase'], DrainPhase | null>> = {
  claimed: null,
  asked: null,
  drained: 'draining',
  activating: 'draining',
  overruled: 'left-alone',
  manual: 'left-alone',
};

function planHeld(
  state: DrainState,
  held: HeldClaim,
  nowMs: number,
  place: Place | null,
  cause: CauseVerdict,
  wait: WaitFor,
): DrainStep {
  const { claim, instanceId } = held;
  const { renewAtMs, refusal } = state;
  const phase = HELD_PHASES[claim.phase] ?? 'waiting';
  // Whatever else is not known: a claim that is not renewed frees a slot of a node that is still drained.
  if (nowMs >= renewAtMs) return { action: 'renew', held, phase, reason: 'the claim is to be renewed' };
  if (!place) return wait(phase, 'ecs-agent has not registered this node yet', renewAtMs);
  if (claim.arn !== place.arn) {
    return { action: 'give-back', held, phase: 'idle', reason: 'ecs-agent registered this node anew' };
  }
  if (claim.phase === 'overruled') {
    if (cause.kind === 'over') return { action: 'give-back', held, phase: 'idle', reason: 'the cause is over' };
    if (cause.kind === 'stands' && claim.causes && !claim.causes.includes(cause.key)) {
      return { action: 'give-back', held, phase: 'waiting', reason: `a cause that was not overruled: ${cause.reason}` };
    }
    return wait(phase, 'something other than rollcall made this node active again', renewAtMs);
  }
  if (claim.phase === 'manual') return wait(phase, claim.reason, renewAtMs);
  const status = state.status?.arn === place.arn ? state.status : null;
  const fresh = status !== null && nowMs <= status.atMs + FRESH_MS;
  if (nowMs < refusal.retryAtMs) {
    const reason = refusalReason(refusal);
    const begun = phase === 'draining' || (claim.phase === 'asked' && !state.drainDenied);
    if (!begun) return { action: 'give-back', held, phase: cause.kind === 'stands' ? 'waiting' : 'idle', reason };
    return wait(phase, reason, Math.min(refusal.retryAtMs, renewAtMs));
  }
  if (claim.phase === 'claimed' && cause.kind !== 'stands') {
    // ECS was not asked to drain it, so its status does not matter.
    const reason = cause.kind === 'over' ? 'the cause is over' : cause.reason;
    return { action: 'give-back', held, phase: 'idle', reason };
  }
  // A try before may have had no answer for minutes: an operator has replaced the claim since, perhaps, and freed the slot.
  const readFirst = (step: DrainStep, readAtMs: number): DrainStep =>
    state.claimReadAtMs >= readAtMs
      ? step
      : { action: 'read-claim', instanceId, between: true, phase, reason: 'whether the claim is still this one' };
  const standOff = cause.kind === 'stands' ? { standOff: { arn: place.arn, cause: cause.key } } : {};
  const describe: DrainStep = {
    action: 'describe',
    instanceId,
    place,
    phase,
    reason: 'the status of this node in ECS is not known',
  };
  if (cause.kind === 'over') {
    if (!fresh) return describe;
    if (status.text === 'DRAINING') {
      // In the store before ECS is asked: an operator who drains this node in the meantime is not undone.
      if (claim.phase !== 'activating')
        return { action: 'mark', held, as: 'activating', phase, reason: 'the cause is over' };
      return readFirst({ action: 'activate', instanceId, place, phase, reason: 'the cause is over' }, status.atMs);
    }
    return {
      action: 'give-back',
      held,
      phase: 'idle',
      reason: `the cause is over, and ECS has this node ${status.text}`,
    };
  }
  if (phase === 'draining') {
    if (!status || nowMs >= status.atMs + READ_AGAIN_MS) return describe;
    const activating = claim.phase === 'activating';
    if (status.text === 'ACTIVE' && (activating || state.activatedArn === place.arn)) {
      // A cause that came back meanwhile is another: for it a slot has to be free.
      const after: DrainPhase = cause.kind === 'stands' ? 'waiting' : 'idle';
      return { action: 'give-back', held, phase: after, reason: 'the cause was over, and this node is ACTIVE again' };
    }
    if (status.text === 'ACTIVE') {
      const reason = 'something other than rollcall made this node active again';
      return { action: 'mark', held, as: 'overruled', phase: 'left-alone', reason };
    }
    if (activating && status.text === 'DRAINING')
      return { action: 'mark', held, as: 'drained', phase, reason: claim.reason };
    return wait(phase, claim.reason, Math.min(renewAtMs, status.atMs + READ_AGAIN_MS));
  }
  if (!fresh) {
    const { error, action } = state.trouble;
    if (claim.phase !== 'claimed' || action !== 'describe' || nowMs < state.claimSinceMs + ASK_MS) return describe;
    // ECS was not asked to drain it: the slot is for a node that can ask.
    return { action: 'give-back', held, phase, reason: `ECS does not say its status: ${error}`, ...standOff };
  }
  if (status.text === 'DRAINING') {
    if (claim.phase === 'asked') {
      return { action: 'mark', held, as: 'drained', phase: 'draining', reason: claim.reason };
    }
    const reason = 'something other than rollcall drained this node already';
    return { action: 'give-back', held, leaveAlone: place.arn, phase: 'left-alone', reason };
  }
  if (cause.kind !== 'stands') return { action: 'give-back', held, phase: 'idle', reason: cause.reason };
  if (status.text === 'ACTIVE' && claim.phase === 'asked')
    return readFirst({ action: 'drain', instanceId, place, phase, reason: claim.reason }, status.atMs);
  if (status.text === 'ACTIVE') {
    // In the store before ECS is asked: the agent process after this one knows whose drain it is.
    return { action: 'mark', held, as: 'asked', phase, reason: claim.reason };
  }
  return { action: 'give-back', held, phase, reason: whyNotActive(status.text), ...standOff };
}

function refusalReason({ error }: DrainTrouble): string {
  return `ECS refused: ${error ?? 'no reason given'}`;
}
