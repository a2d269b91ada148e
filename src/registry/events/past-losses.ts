import type { EntryChange } from '../../record/entry-change.ts';
import { presenceState, type Roll, type RollEntry } from '../../record/roll.ts';
import type { WatchBatch } from '../../store/store.ts';
import { createView } from '../view.ts';
import { rewind } from './rewind.ts';

/**
 * Nodes that were present at `since` or after it and are lost now, each with its entry from when it was there last.
 * @param batches all that led from revision `since` to `roll`, in order
 */
export function pastLosses(roll: Roll, batches: readonly WatchBatch[], since: string): readonly EntryChange[] {
  const past = rewind(roll, batches, since);
  const lastPresent = new Map<string, RollEntry>();
  const note = (entry: RollEntry) => {
    if (presenceState(entry) === 'present') lastPresent.set(entry.record.ec2InstanceId, entry);
  };
  past.entries.forEach(note);
  const view = createView(past);
  for (const batch of batches) for (const { after } of view.apply(batch) ?? []) if (after) note(after);
  return roll.entries.flatMap((after) => {
    const instanceId = after.record.ec2InstanceId;
    const before = lastPresent.get(instanceId);
    return before && presenceState(after) === 'lost' ? [{ instanceId, before, after }] : [];
  });
}
