import type { NodeRecord, Presence } from '../../record/record.ts';
import type { Roll, RollEntry } from '../../record/roll.ts';
import type { WatchBatch } from '../../store/store.ts';

/**
 * The roll as it was before `batches`, of which each change says what it replaced.
 * @param revision the one the first batch followed @param batches all that led to `roll`, in order
 */
export function rewind(roll: Roll, batches: readonly WatchBatch[], revision: string): Roll {
  const nodes = new Map<string, { record: NodeRecord | null; presence: Presence | null }>(
    roll.entries.map((entry) => [entry.record.ec2InstanceId, entry]),
  );
  for (const { changes } of batches.toReversed()) {
    for (const change of changes) {
      if (change.kind !== 'record' && change.kind !== 'presence') continue;
      const node = nodes.get(change.instanceId) ?? { record: null, presence: null };
      nodes.set(change.instanceId, { ...node, [change.kind]: change.previous });
    }
  }
  const entries = [...nodes.values()].filter((node): node is RollEntry => node.record !== null);
  entries.sort((a, b) => (a.record.ec2InstanceId < b.record.ec2InstanceId ? -1 : 1));
  return { revision, entries, skipped: [] };
}
