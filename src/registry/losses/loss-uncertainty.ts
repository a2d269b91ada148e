import type { MassLossLimits } from '../../config/mass-loss-limits.ts';
import type { RollEvent, Uncertainty } from '../../record/event.ts';
import { atRest, lossesInOrder, lostEvents } from './loss-release.ts';
import type { GuardInput, GuardPhase, GuardState, GuardStep, GuardTime } from './loss-state.ts';
import { countTold } from './loss-window.ts';

/** An uncertainty that goes on because more and more nodes vanish is settled after this many times its first length. */
const MAX_EXTENSION = 3;
/** Readers are told again when the number of vanished nodes has grown by half: 20 times on the way to 10,000. */
const GROWTH = 1.5;

/** Holds what is held until it is due. @param vanished the number to be told @param part as in `UncertainEvent` */
export function becomeUncertain(
  state: GuardState,
  vanished: number,
  now: GuardTime,
  limits: MassLossLimits,
  part = 0,
): GuardStep {
  const untilMs = state.lastDueMs;
  const uncertainty: Uncertainty = {
    vanished,
    nodes: state.present + state.held.size + countTold(state.told, now.monotonicMs),
    limitShare: limits.share,
    limitCount: limits.count,
    since: new Date(now.wallMs).toISOString(),
    until: wallTime(untilMs, now),
  };
  const capMs = now.monotonicMs + MAX_EXTENSION * (untilMs - now.monotonicMs);
  return {
    state: {
      ...state,
      uncertainty,
      phase: { kind: 'uncertain', untilMs, capMs, announced: vanished, part, returned: 0 },
    },
    events: [{ kind: 'uncertain', revision: state.revision, uncertainty, part }],
    look: false,
    wakeAtMs: untilMs,
  };
}

/** Ends it when nothing is held any more or the wait is over; else brings its numbers up to date. */
export function judgeUncertainty(
  state: GuardState,
  phase: Extract<GuardPhase, { kind: 'uncertain' }>,
  uncertainty: Uncertainty,
  input: GuardInput,
  now: GuardTime,
  limits: MassLossLimits,
): GuardStep {
  const { revision } = state;
  const { returned, part } = phase;
  const untilMs = Math.min(Math.max(phase.untilMs, state.lastDueMs), phase.capMs);
  if (state.held.size === 0) return atRest(state, [{ kind: 'certain', revision, part, returned, lost: 0 }]);
  // Changes may be one of many that come late: behind them are perhaps those that say who returned.
  if (input.kind === 'tick' && now.monotonicMs >= untilMs) return settle(state, phase, now, limits);

  const gone = state.held.size + countTold(state.told, now.monotonicMs);
  const vanished = Math.max(uncertainty.vanished, gone);
  const grown = vanished >= phase.announced * GROWTH;
  const next: Uncertainty = {
    ...uncertainty,
    vanished,
    nodes: Math.max(uncertainty.nodes, state.present + gone),
    until: untilMs === phase.untilMs ? uncertainty.until : wallTime(untilMs, now),
  };
  return {
    state: {
      ...state,
      uncertainty: next,
      phase: { ...phase, untilMs, announced: grown ? vanished : phase.announced },
    },
    events: grown ? [{ kind: 'uncertain', revision, uncertainty: next, part }] : [],
    look: false,
    wakeAtMs: untilMs,
  };
}

/** The wait is over for those that are due; whoever vanished too late for that goes on to be held, as a new uncertainty. */
function settle(
  state: GuardState,
  { returned, part }: Extract<GuardPhase, { kind: 'uncertain' }>,
  now: GuardTime,
  limits: MassLossLimits,
): GuardStep {
  const due = lossesInOrder(state).filter(([, loss]) => loss.dueAtMs <= now.monotonicMs);
  // First the headline: a reader that holds still while it is uncertain can act on every `lost` it gets.
  const events: RollEvent[] = [
    { kind: 'certain', revision: state.revision, part, returned, lost: due.length },
    ...lostEvents(state, due),
  ];
  if (due.length === state.held.size) return atRest(state, events);
  let { held, losses } = state;
  for (const [instanceId] of due) {
    held = held.without(instanceId);
    losses = losses.without(instanceId);
  }
  const step = becomeUncertain({ ...state, held, losses }, held.size, now, limits, part + 1);
  return { ...step, events: [...events, ...step.events] };
}

function wallTime(monotonicMs: number, now: GuardTime): string {
  return new Date(now.wallMs + monotonicMs - now.monotonicMs).toISOString();
}
