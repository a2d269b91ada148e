import { diffEntry } from '../../record/diff.ts';
import type { RollEvent } from '../../record/event.ts';
import { type GuardState, type GuardStep, type HeldLoss, initialGuardState } from './loss-state.ts';

export type IdentifiedLoss = readonly [instanceId: string, loss: HeldLoss];

/** The held losses as they happened. */
export function lossesInOrder(state: GuardState): readonly IdentifiedLoss[] {
  return [...state.losses].sort(
    ([idA, a], [idB, b]) => Number(BigInt(a.revision) - BigInt(b.revision)) || (idA < idB ? -1 : 1),
  );
}

/** Each from the entry that readers were told last to the one there is now, at the revision at which it vanished. */
export function lostEvents({ held }: GuardState, losses: readonly IdentifiedLoss[]): readonly RollEvent[] {
  return losses.flatMap(([instanceId, { after, revision }]) =>
    diffEntry(instanceId, held.get(instanceId) ?? null, after, revision),
  );
}

/** Nothing is held any more. */
export function atRest(state: GuardState, events: readonly RollEvent[]): GuardStep {
  const { told, lookedAtMs, revision, present } = state;
  return { state: { ...initialGuardState, told, lookedAtMs, revision, present }, events, look: false, wakeAtMs: null };
}
