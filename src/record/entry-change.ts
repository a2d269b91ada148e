import type { Roll, RollEntry } from './roll.ts';

/** One node's entry before and after; null: not on the roll. */
export interface EntryChange {
  readonly instanceId: string;
  readonly before: RollEntry | null;
  readonly after: RollEntry | null;
}

/** Every entry that is not the same object in both, in the order of ids. They may still be equal by value. */
export function entryChanges(before: Roll, after: Roll): readonly EntryChange[] {
  const old = byId(before);
  const now = byId(after);
  const changes: EntryChange[] = [];
  for (const instanceId of [...new Set([...old.keys(), ...now.keys()])].sort()) {
    const change = { instanceId, before: old.get(instanceId) ?? null, after: now.get(instanceId) ?? null };
    if (change.before !== change.after) changes.push(change);
  }
  return changes;
}

function byId(roll: Roll): ReadonlyMap<string, RollEntry> {
  return new Map(roll.entries.map((entry) => [entry.record.ec2InstanceId, entry]));
}
