import type { MassLossLimits } from '../../config/mass-loss-limits.ts';
import { presenceState, type Roll, type RollEntry } from '../../record/roll.ts';
import type { WatchBatch } from '../../store/store.ts';
import { isMassLoss } from '../losses/is-mass-loss.ts';
import { createView } from '../view.ts';
import { rewind } from './rewind.ts';

export interface PastLosses {
  /** Nodes that were present at `since` or after it, each with its entry from when it was there last. */
  readonly lastPresent: ReadonlyMap<string, RollEntry>;
  /** So many were gone together that whoever followed was told that it is uncertain, and perhaps of none as lost. */
  readonly massLoss: boolean;
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
  let massLoss = false;
  const note = (entry: RollEntry) => {
    if (presenceState(entry) === 'present') lastPresent.set(entry.record.ec2InstanceId, entry);
  };
  past.entries.forEach(note);
  for (const batch of batches) {
    for (const { instanceId, after } of view.apply(batch) ?? []) {
      if (after) note(after);
      if (after && lastPresent.has(instanceId) && presenceState(after) === 'lost') gone.add(instanceId);
      else gone.delete(instanceId);
    }
    massLoss ||= limits !== null && isMassLoss(gone.size, view.count().present, limits);
  }
  return { lastPresent, massLoss };
}
