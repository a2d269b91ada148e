import type { MassLossLimits } from '../../config/mass-loss-limits.ts';
import { atRest, lossesInOrder, lostEvents } from './loss-release.ts';
import type { GuardInput, GuardState, GuardStep, GuardTime, LookedAt } from './loss-state.ts';
import { becomeUncertain, judgeUncertainty } from './loss-uncertainty.ts';
import { countTold, withTold } from './loss-window.ts';

/** The longest that a loss is held while it is only suspected to be one of many. */
const SUSPICION_MS = 500;
/** Between two looks: nodes that die one by one must not make every reader ask the store all the time. */
const LOOK_GAP_MS = 200;

/** What becomes of the losses that are held, in the light of `input`. */
export function judgeLosses(state: GuardState, input: GuardInput, now: GuardTime, limits: MassLossLimits): GuardStep {
  const { phase, uncertainty } = state;
  const step =
    phase.kind === 'uncertain' && uncertainty
      ? judgeUncertainty(state, phase, uncertainty, input, now, limits)
      : judgeSuspicion(state, input, now, limits);
  // A snapshot tells the nodes itself, and those that are held no more as they are now.
  if (input.kind !== 'snapshot') return step;
  return { ...step, events: step.events.filter((event) => !('instanceId' in event)) };
}

function judgeSuspicion(state: GuardState, input: GuardInput, now: GuardTime, limits: MassLossLimits): GuardStep {
  if (state.held.size === 0) return atRest(state, []);
  const nowMs = now.monotonicMs;
  const vanished = state.held.size + countTold(state.told, nowMs);
  const nodes = state.present + vanished;
  const answered = input.kind === 'looked' && input.asked > 0;
  const { phase } = state;
  const asNow: LookedAt = { vanished, present: state.present };
  const asLookedAt = (phase.kind === 'suspicion' && phase.look) || asNow;
  const overdue = answered ? Math.round((input.overdue / input.asked) * asLookedAt.present) : 0;
  // Who vanished since the store was asked is among those that were overdue then; who departed is gone in another way.
  const alsoGone = overdue - Math.max(0, vanished - asLookedAt.vanished);
  const gone = vanished + Math.min(Math.max(0, alsoGone), state.present);
  if (gone / nodes > limits.share && gone >= limits.count) return becomeUncertain(state, gone, now, limits);
  // Else they are few; or nobody is left to be asked about; or all nodes together are too few to pass the limits.
  if (answered || state.present === 0 || nodes < limits.count) return tellAll(state, nowMs);

  const deadlineMs = phase.kind === 'suspicion' ? phase.deadlineMs : nowMs + SUSPICION_MS;
  if (input.kind === 'tick' && nowMs >= deadlineMs) {
    // A store that does not answer is one that may have lost their leases, too.
    return vanished >= limits.count ? becomeUncertain(state, vanished, now, limits) : tellAll(state, nowMs);
  }
  const asked = phase.kind === 'suspicion' && input.kind !== 'looked' ? phase.look : null;
  const lookAtMs = state.lookedAtMs + LOOK_GAP_MS;
  const look = asked === null && nowMs >= lookAtMs;
  return {
    state: {
      ...state,
      phase: { kind: 'suspicion', deadlineMs, look: look ? asNow : asked },
      lookedAtMs: look ? nowMs : state.lookedAtMs,
    },
    events: [],
    look,
    wakeAtMs: look || asked !== null ? deadlineMs : Math.min(deadlineMs, lookAtMs),
  };
}

function tellAll(state: GuardState, nowMs: number): GuardStep {
  const losses = lossesInOrder(state);
  const dueAtMs = losses.map(([, loss]) => loss.dueAtMs);
  return atRest({ ...state, told: withTold(state.told, dueAtMs, nowMs) }, lostEvents(state, losses));
}
