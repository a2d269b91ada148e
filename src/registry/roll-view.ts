import type { EntryChange } from '../record/events.ts';
import type { NodeRecord, Presence } from '../record/record.ts';
import { type PresenceState, presenceState, type Roll, type RollEntry, type SkippedKey } from '../record/roll.ts';
import { presenceKey, recordKey } from '../store/keys.ts';
import { MAX_SKIPPED } from '../store/read-roll.ts';
import type { Change, WatchBatch } from '../store/store.ts';

/** A roll that is kept up to date by batches. The rolls it hands out never change. */
export interface View {
  /**
   * Applies one revision's changes.
   * @returns the entries they touched, in the order of ids; null when the batch does not fit and a new snapshot is
   * needed: the view then is what it was before
   */
  apply(batch: WatchBatch): readonly EntryChange[] | null;
  roll(): Roll;
  /** Of the roll, without putting it together. */
  revision(): string;
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
  // Kept as it changes, since it is asked for with every batch.
  const counts = { present: 0, departed: 0, lost: 0 };
  for (const entry of snapshot.entries) counts[presenceState(entry)] += 1;

  function put(instanceId: string, change: Partial<NodeView>) {
    const old = nodes.get(instanceId);
    const node: NodeView = { record: null, presence: null, ...old, ...change };
    if (node.record === null && node.presence === null) nodes.delete(instanceId);
    else nodes.set(instanceId, node);
    if (old && hasRecord(old)) counts[presenceState(old)] -= 1;
    if (hasRecord(node)) counts[presenceState(node)] += 1;
    entries = null;
  }

  function entryOf(instanceId: string): RollEntry | null {
    const node = nodes.get(instanceId);
    return node && hasRecord(node) ? node : null;
  }

  /** A record of a node that is new here, without its presence. */
  function isHalfKnown(change: Change, { changes }: WatchBatch): boolean {
    if (change.kind !== 'record' || change.record === null || nodes.has(change.instanceId)) return false;
    const { instanceId } = change;
    return !changes.some((other) => other.kind === 'presence' && other.instanceId === instanceId && other.presence);
  }

  return {
    apply(batch) {
      // A snapshot has no presence for what it skipped. When such a node's record comes back, its presence is not known
      // here, and the node would be called lost while its agent is there.
      if (skipped.size > 0 && batch.changes.some((change) => isHalfKnown(change, batch))) return null;
      const before = new Map<string, RollEntry | null>();
      for (const change of batch.changes) {
        if (change.kind === 'skipped') {
          if (skipped.size < MAX_SKIPPED) skipped.set(change.skipped.key, change.skipped);
          continue;
        }
        if (change.kind === 'unskipped') {
          skipped.delete(change.key);
          continue;
        }
        const { instanceId } = change;
        if (!before.has(instanceId)) before.set(instanceId, entryOf(instanceId));
        if (change.kind === 'record') {
          skipped.delete(recordKey(instanceId));
          put(instanceId, { record: change.record });
        } else {
          skipped.delete(presenceKey(instanceId));
          put(instanceId, { presence: change.presence });
        }
      }
      revision = batch.revision;
      return [...before.keys()]
        .sort()
        .map((instanceId) => ({
          instanceId,
          before: before.get(instanceId) ?? null,
          after: entryOf(instanceId),
        }))
        .filter((change) => change.before !== change.after);
    },

    roll() {
      entries ??= [...nodes.values()].filter(hasRecord).sort(byInstanceId);
      return { revision, entries, skipped: [...skipped.values(), ...orphans(nodes, skipped)] };
    },

    revision: () => revision,
    count: () => ({ ...counts }),
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
