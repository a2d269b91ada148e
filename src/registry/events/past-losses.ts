import type { MassLossLimits } from '../../config/mass-loss-limits.ts';
import type { EntryChange } from '../../record/entry-change.ts';
import { presenceState, type Roll, type RollEntry } from '../../record/roll.ts';
import type { WatchBatch } from '../../store/store.ts';
import { isMassLoss } from '../losses/is-mass-loss.ts';
import { createView } from '../view.ts';
import { rewind } from './rewind.ts';

export interface PastLosses {
  /** Nodes that were present at `since` or after it and are lost now, each with its entry from when it was there last. */
  readonly lost: readonly EntryChange[];
  /** A node came back while so many others were lost with it that whoever followed was told none of them as lost. */
  readonly fromMassLoss: boolean;
}

/**
 * @param batches all that led from revision `since` to `roll`, in order
 * @param limits null: losses are never held back
 */
export function pastLosses(
  roll: Roll,
  batches: readonly WatchBatch[],
  since: string,
  limits: MassLossLimits | null,
): PastLosses {
  const past = rewind(roll, batches, since);
  const view = createView(past);
  const lastPresent = new Map<string, RollEntry>();
  /** Those that were present in this past and are lost. */
  const gone = new Set<string>();
  let fromMassLoss = false;
  const note = (entry: RollEntry) => {
    if (presenceState(entry) === 'present') lastPresent.set(entry.record.ec2InstanceId, entry);
  };
  past.entries.forEach(note);
  for (const batch of batches) {
    const wasMassLoss = limits !== null && isMassLoss(gone.size, view.count().present, limits);
    for (const { instanceId, after } of view.apply(batch) ?? []) {
      if (after) note(after);
      const wasGone = gone.delete(instanceId);
      if (wasGone && wasMassLoss && after?.presence) fromMassLoss = true;
      if (after && lastPresent.has(instanceId) && presenceState(after) === 'lost') gone.add(instanceId);
    }
  }
  const lost = roll.entries.flatMap((after) => {
    const { ec2InstanceId: instanceId } = after.record;
    const before = lastPresent.get(instanceId);
    return before && gone.has(instanceId) ? [{ instanceId, before, after }] : [];
  });
  return { lost, fromMassLoss };
}
