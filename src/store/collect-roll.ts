import { decodePresence, decodeRecord } from '../record/codec.ts';
import type { NodeRecord, Presence } from '../record/record.ts';
import type { Roll, RollEntry, SkippedKey } from '../record/roll.ts';
import { parseKey, presenceKey, ROOT } from './keys.ts';
import type { RangeEntry } from './kv.ts';

/** A prefix shared with somebody else may hold any number of foreign keys; a list names this many and counts the rest. */
export const MAX_SKIPPED = 100;

interface RollCollector {
  /** Takes more keys, in any order, each once. */
  add(kvs: readonly RangeEntry[]): void;
  /** @param revision at which all added keys were read */
  finish(revision: string): Roll;
}

/**
 * Joins records and presences, page by page, into a roll. Never throws: what cannot be read is named in `skipped`.
 * Both are sorted and merged instead of looked up by id: pages come sorted, and a list of 10,000 nodes feels the rest.
 */
export function collectRoll(): RollCollector {
  const records: NodeRecord[] = [];
  const presences: { readonly instanceId: string; readonly presence: Presence }[] = [];
  const unreadableRecords = new Set<string>();
  const skipped: SkippedKey[] = [];
  let skippedCount = 0;

  const skip = (key: string, reason: string) => {
    skippedCount += 1;
    if (skipped.length < MAX_SKIPPED) skipped.push({ key, reason });
  };

  const add = ({ key, value }: RangeEntry) => {
    const parsed = parseKey(key);
    if (parsed.kind === 'foreign') {
      skip(key, parsed.reason);
    } else if (parsed.kind === 'record') {
      const decoded = decodeRecord(parsed.instanceId, value);
      if (decoded.ok) {
        records.push(decoded.value);
      } else {
        unreadableRecords.add(parsed.instanceId);
        skip(key, decoded.reason);
      }
    } else {
      const decoded = decodePresence(value);
      if (decoded.ok) presences.push({ instanceId: parsed.instanceId, presence: decoded.value });
      else skip(key, decoded.reason);
    }
  };

  /** A presence beside an unreadable record is not news of its own: the record was named already. */
  const skipPresence = (instanceId: string) => {
    if (!unreadableRecords.has(instanceId)) skip(presenceKey(instanceId), 'a presence without a record');
  };

  const merge = (): RollEntry[] => {
    records.sort((a, b) => (a.ec2InstanceId < b.ec2InstanceId ? -1 : 1));
    presences.sort((a, b) => (a.instanceId < b.instanceId ? -1 : 1));
    let next = 0;
    const entries = records.map((record) => {
      let beside = presences[next];
      for (; beside && beside.instanceId < record.ec2InstanceId; beside = presences[++next]) {
        skipPresence(beside.instanceId);
      }
      if (beside?.instanceId !== record.ec2InstanceId) return { record, presence: null };
      next += 1;
      return { record, presence: beside.presence };
    });
    for (const { instanceId } of presences.slice(next)) skipPresence(instanceId);
    return entries;
  };

  return {
    add: (kvs) => kvs.forEach(add),
    finish: (revision) => {
      const entries = merge();
      const more = skippedCount - skipped.length;
      if (more > 0) skipped.push({ key: ROOT, reason: `${more} more keys that cannot be read` });
      return { revision, entries, skipped };
    },
  };
}
