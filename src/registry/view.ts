import type { NodeRecord, Presence } from '../record/record.ts';
import { type PresenceState, presenceState, type Roll, type RollEntry, type SkippedKey } from '../record/roll.ts';
import { MAX_SKIPPED } from '../store/collect-roll.ts';
import { presenceKey, recordKey } from '../store/keys.ts';
import type { WatchBatch } from '../store/store.ts';

/** A roll that is kept up to date by batches. The rolls it hands out never change. */
export interface View {
  /**
   * Applies one revision's changes.
   * @returns false when the batch does not fit and a new snapshot is needed; the view then still is a past state
   */
  apply(batch: WatchBatch): boolean;
  roll(): Roll;
  /** Entries by presence. */
  count(): Readonly<Record<PresenceState, number>>;
}

interface NodeView {
  readonly record: NodeRecord | null;
  readonly presence: Presence | null;
}

/**
 * Changes its map in place: copying 10,000 nodes for each of the thousands of batches after an outage would be
 * quadratic. The nodes in it are replaced, never changed, and double as the roll's entries.
 */
export function createView(snapshot: Roll): View {
  const nodes = new Map<string, NodeView>(snapshot.entries.map((entry) => [entry.record.ec2InstanceId, entry]));
  const skipped = new Map<string, SkippedKey>(snapshot.skipped.map((key) => [key.key, key]));
  let revision = snapshot.revision;
  let entries: readonly RollEntry[] | null = snapshot.entries;

  function put(instanceId: string, change: Partial<NodeView>) {
    const node = { record: null, presence: null, ...nodes.get(instanceId), ...change };
    if (node.record === null && node.presence === null) nodes.delete(instanceId);
    else nodes.set(instanceId, node);
    entries = null;
  }

  return {
    apply(batch) {
      const newcomers: string[] = [];
      const hadSkipped = skipped.size > 0;
      for (const change of batch.changes) {
        if (change.kind === 'skipped') {
          if (skipped.size < MAX_SKIPPED) skipped.set(change.skipped.key, change.skipped);
          continue;
        }
        if (change.kind === 'unskipped') {
          skipped.delete(change.key);
          continue;
        }
        if (change.kind === 'record') {
          if (!nodes.has(change.instanceId)) newcomers.push(change.instanceId);
          skipped.delete(recordKey(change.instanceId));
          put(change.instanceId, { record: change.record });
        } else {
          skipped.delete(presenceKey(change.instanceId));
          put(change.instanceId, { presence: change.presence });
        }
      }
      revision = batch.revision;
      // A snapshot has no presence for what it skipped. When such a node's record comes back, its presence is not known
      // here, and the node would be called lost while its agent is there.
      return !(hadSkipped && newcomers.some((id) => nodes.get(id)?.record && !nodes.get(id)?.presence));
    },

    roll() {
      entries ??= [...nodes.values()].filter(hasRecord).sort(byInstanceId);
      return { revision, entries, skipped: [...skipped.values(), ...orphans(nodes, skipped)] };
    },

    count() {
      const counts = { present: 0, departed: 0, lost: 0 };
      for (const node of nodes.values()) if (hasRecord(node)) counts[presenceState(node)] += 1;
      return counts;
    },
  };
}

function hasRecord(node: NodeView): node is RollEntry {
  return node.record !== null;
}

function byInstanceId(a: RollEntry, b: RollEntry): number {
  return a.record.ec2InstanceId < b.record.ec2InstanceId ? -1 : 1;
}

/** Presences whose record went away under the watch, named as a snapshot would: not beside an unreadable record. */
function* orphans(nodes: Map<string, NodeView>, skipped: Map<string, SkippedKey>): Iterable<SkippedKey> {
  let room = MAX_SKIPPED - skipped.size;
  for (const [instanceId, node] of nodes) {
    if (room <= 0) return;
    if (hasRecord(node) || skipped.has(recordKey(instanceId))) continue;
    room -= 1;
    yield { key: presenceKey(instanceId), reason: 'a presence without a record' };
  }
}
