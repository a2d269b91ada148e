import type { GuardInput, GuardStep, GuardTime, MassLossLimits } from './loss-guard.ts';
import { atRest, lossesInOrder, lostEvents } from './loss-release.ts';
import type { GuardState } from './loss-state.ts';
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
  const overdue = answered ? Math.round((input.overdue / input.asked) * state.present) : 0;
  const gone = vanished + overdue;
  if (gone / nodes > limits.share && gone >= limits.count) return becomeUncertain(state, gone, now, limits);
  // Else they are few; or nobody is left to be asked about; or all nodes together are too few to pass the limits.
  if (answered || state.present === 0 || nodes < limits.count) return tellAll(state, nowMs);

  const { phase } = state;
  const deadlineMs = phase.kind === 'suspicion' ? phase.deadlineMs : nowMs + SUSPICION_MS;
  if (input.kind === 'tick' && nowMs >= deadlineMs) {
    // A store that does not answer is one that may have lost their leases, too.
    return vanished >= limits.count ? becomeUncertain(state, vanished, now, limits) : tellAll(state, nowMs);
  }
  const waiting = phase.kind === 'suspicion' && phase.looking && input.kind !== 'looked';
  const lookAtMs = state.lookedAtMs + LOOK_GAP_MS;
  const look = !waiting && nowMs >= lookAtMs;
  return {
    state: {
      ...state,
      phase: { kind: 'suspicion', deadlineMs, looking: waiting || look },
      lookedAtMs: look ? nowMs : state.lookedAtMs,
    },
    events: [],
    look,
    wakeAtMs: waiting || look ? deadlineMs : Math.min(deadlineMs, lookAtMs),
  };
}

function tellAll(state: GuardState, nowMs: number): GuardStep {
  const losses = lossesInOrder(state);
  const dueAtMs = losses.map(([, loss]) => loss.dueAtMs);
  return atRest({ ...state, told: withTold(state.told, dueAtMs, nowMs) }, lostEvents(state, losses));
}
