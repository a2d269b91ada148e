import type { MassLossLimits } from '../../config/mass-loss-limits.ts';
import { diffEntry } from '../../record/diff.ts';
import type { RollEvent } from '../../record/event.ts';
import { takeChanges } from './loss-intake.ts';
import type { GuardInput, GuardState, GuardStep, GuardTime } from './loss-state.ts';
import { judgeLosses } from './loss-verdict.ts';

/**
 * Stands between the store's changes and what readers are told, because a store that hiccups ends the leases of nodes
 * that are well. A loss is held until the store was asked how many others are about to be lost: few, and it is told
 * (within 500 ms in any case); many, and `uncertain` is told instead. Whoever returns within the next TTL was never
 * lost for any reader; then comes `certain` with the numbers, and after it the `lost` events of those that it counts.
 * @param limits null: the guard is off and tells everything at once
 */
export function guardLosses(
  state: GuardState,
  input: GuardInput,
  now: GuardTime,
  limits: MassLossLimits | null,
): GuardStep {
  if (limits === null) return { state, events: allChanges(input), look: false, wakeAtMs: null };
  if (input.kind === 'looked' || input.kind === 'tick') return judgeLosses(state, input, now, limits);
  const taken = takeChanges(state, input, now.monotonicMs);
  const step = judgeLosses(taken.state, input, now, limits);
  return { ...step, events: [...taken.events, ...step.events] };
}

function allChanges(input: GuardInput): readonly RollEvent[] {
  if (input.kind !== 'changes') return [];
  return input.changes.flatMap(({ instanceId, before, after }) => diffEntry(instanceId, before, after, input.revision));
}
