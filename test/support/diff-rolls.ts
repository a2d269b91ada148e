import { diffEntry, entryChanges, type InstanceEvent } from '../../src/record/events.ts';
import type { Roll } from '../../src/record/roll.ts';

/** The events that turn `before` into `after`, in the order of ids, all at the revision of `after`. */
export function diffRolls(before: Roll, after: Roll): readonly InstanceEvent[] {
  return entryChanges(before, after).flatMap((change) =>
    diffEntry(change.instanceId, change.before, change.after, after.revision),
  );
}
