import { type KeptDifference, MAX_DIFFERENCES } from '../record/difference.ts';
import type { EntryChange } from '../record/events.ts';
import type { NodeRecord, Presence } from '../record/record.ts';
import { type PresenceState, presenceState, type Roll, type RollEntry, type SkippedKey } from '../record/roll.ts';
import { presenceKey, ROOT, recordKey } from '../store/keys.ts';
import type { Change, WatchBatch } from '../store/read-roll.ts';
import { MAX_SKIPPED } from '../store/read-roll.ts';

/** A roll that batches keep up to date. The rolls it returns never change. */
export interface View {
  /**
   * Applies one revision's changes.
   * @returns the changed entries, sorted by id; null: the batch does not fit, the view is unchanged and a new snapshot is
   * needed
   */
  apply(batch: WatchBatch): readonly EntryChange[] | null;
  roll(): Roll;
  /** The roll's revision, without building the roll. */
  revision(): string;
  /**
   * Half of the keys that it named can be read by now, or are gone; whether the rest can be, only a new snapshot tells. Never
   * true of a snapshot itself, or snapshots would follow each other.
   */
  isVague(): boolean;
  /** Entries by presence. */
  count(): Readonly<Record<PresenceState, number>>;
}

interface NodeView {
  readonly record: NodeRecord | null;
  readonly presence: Presence | null;
}

/**
 * Changes its map in place: copying 10,000 nodes for each of the thousands of batches after an outage would be
 * quadratic. The nodes in the map are replaced, never changed, so the roll's entries can be the same objects.
 */
export function createView(snapshot: Roll): View {
  const nodes = new Map<string, NodeView>(snapshot.entries.map((entry) => [entry.record.ec2InstanceId, entry]));
  const skipped = new Map<string, SkippedKey>(snapshot.skipped.map((key) => [key.key, key]));
  // Different keys may have one name, so a snapshot with a rest may name few. None: there was no rest.
  const firstNamed = skipped.has(ROOT) ? [...skipped.keys()].filter((key) => key !== ROOT) : [];
  let differences: ReadonlyMap<string, KeptDifference> = snapshot.differences ?? new Map();
  let revision = snapshot.revision;
  let entries: readonly RollEntry[] | null = snapshot.entries;
  // Updated with each change, because every batch asks for the counts.
  const counts = { present: 0, departed: 0, lost: 0 };
  for (const entry of snapshot.entries) counts[presenceState(entry)] += 1;
  let withoutRecord = 0;

  function put(instanceId: string, change: Partial<NodeView>) {
    const old = nodes.get(instanceId);
    const node: NodeView = { record: null, presence: null, ...old, ...change };
    if (node.record === null && node.presence === null) nodes.delete(instanceId);
    else nodes.set(instanceId, node);
    if (old && hasRecord(old)) counts[presenceState(old)] -= 1;
    else if (old) withoutRecord -= 1;
    if (hasRecord(node)) counts[presenceState(node)] += 1;
    else if (node.presence !== null) withoutRecord += 1;
    entries = null;
  }

  function entryOf(instanceId: string): RollEntry | null {
    const node = nodes.get(instanceId);
    return node && hasRecord(node) ? node : null;
  }

  /** The change adds the record of an unknown node, and the batch does not have its presence. */
  function lacksPresence(change: Change, { changes }: WatchBatch): boolean {
    if (change.kind !== 'record' || change.record === null || nodes.has(change.instanceId)) return false;
    const { instanceId } = change;
    return !changes.some((other) => other.kind === 'presence' && other.instanceId === instanceId && other.presence);
  }

  return {
    apply(batch) {
      // A snapshot has no presence for the nodes that it skipped. When such a node's record becomes readable, its presence
      // is unknown here, and the node would be shown as lost while its agent runs.
      if (skipped.size > 0 && batch.changes.some((change) => lacksPresence(change, batch))) return null;
      const before = new Map<string, RollEntry | null>();
      for (const change of batch.changes) {
        if (change.kind === 'skipped') {
          const { key } = change.skipped;
          if (skipped.size < MAX_SKIPPED || skipped.has(key)) skipped.set(key, change.skipped);
          else skipped.set(ROOT, REST);
          continue;
        }
        if (change.kind === 'unskipped') {
          skipped.delete(change.key);
          continue;
        }
        if (change.kind === 'difference') {
          // Few, and seldom: a copy, since the rolls that this returned do not change.
          if (change.difference && !differences.has(change.key) && differences.size >= MAX_DIFFERENCES) continue;
          const next = new Map(differences);
          if (change.difference) next.set(change.key, change.difference);
          else next.delete(change.key);
          differences = next;
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
      const known = differences.size > 0 ? { differences } : {};
      // The search reads all nodes, as expensive as the rest of a read, and seldom finds one.
      const bare = withoutRecord > 0 ? orphans(nodes, skipped) : [];
      return { revision, entries, skipped: [...skipped.values(), ...bare], ...known };
    },

    revision: () => revision,
    isVague: () =>
      skipped.has(ROOT) &&
      skipped.size <= MAX_SKIPPED / 2 &&
      firstNamed.filter((key) => skipped.has(key)).length <= firstNamed.length / 2,
    count: () => ({ ...counts }),
  };
}

/** In place of those beyond `MAX_SKIPPED`. Which of them are deleted later is not known, and so neither is their number. */
const REST: SkippedKey = { key: ROOT, reason: 'more keys that cannot be read' };

function hasRecord(node: NodeView): node is RollEntry {
  return node.record !== null;
}

function byInstanceId(a: RollEntry, b: RollEntry): number {
  return a.record.ec2InstanceId < b.record.ec2InstanceId ? -1 : 1;
}

/** Presences whose record was deleted during the watch, named as a snapshot does: unless the record is unreadable. */
function* orphans(nodes: Map<string, NodeView>, skipped: Map<string, SkippedKey>): Iterable<SkippedKey> {
  let room = MAX_SKIPPED - skipped.size;
  for (const [instanceId, node] of nodes) {
    if (hasRecord(node) || skipped.has(recordKey(instanceId))) continue;
    if (room <= 0) {
      if (!skipped.has(ROOT)) yield REST;
      return;
    }
    room -= 1;
    yield { key: presenceKey(instanceId), reason: 'a presence without a record' };
  }
}
