import { decodePresence, decodeRecord } from '../../src/record/codec.ts';
import type { NodeRecord, Presence } from '../../src/record/record.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { PREFIX } from './agent.ts';
import type { Data, Revision } from './etcd/data.ts';

/** One node as the store has it. */
export interface StoredNode {
  record: NodeRecord | null;
  presence: Presence | null;
  /** When the presence was last put, or went. */
  changedAtMs: number;
  /** The same for the removal before the last, to tell what is removed again and again. */
  removedAtMs: readonly number[];
  digest: number;
}

/** The roll at one revision; `digest` is the same for the same roll. */
interface Moment {
  readonly revision: number;
  readonly atMs: number;
  readonly digest: number;
  /** Nodes that differ from the moment before. */
  readonly changed: readonly string[];
}

/** What the store really had, and when: what everything else is held against. */
export interface Truth {
  readonly nodes: ReadonlyMap<string, StoredNode>;
  onCommit(revision: Revision): readonly string[];
  onRestored(data: Data): void;
  digest(): number;
  /** When the roll last changed. */
  changedAtMs(): number;
  /** Whether this was the roll at the revision, in any of the histories that were. */
  wasAt(revision: number, digest: number): boolean;
  /** Whether this was the roll at some time since then. */
  wasSince(sinceMs: number, digest: number): boolean;
  /** The changes after one revision up to another in the present history, as `revision id`; null: it does not have them. */
  changesBetween(after: number, upTo: number): readonly string[] | null;
  epoch(): number;
}

const RECORDS = `${PREFIX}/v1/records/`;
const PRESENCES = `${PREFIX}/v1/presence/`;

export function createTruth(nowMs: () => number): Truth {
  const nodes = new Map<string, StoredNode>();
  const epochs: Moment[][] = [[{ revision: 1, atMs: 0, digest: 0, changed: [] }]];
  /** When each of these histories began. */
  const starts = [0];
  /** Where each of them goes on by itself, behind its copy of the one before. */
  const forks = [0];
  let digest = 0;

  const nodeOf = (id: string): StoredNode => {
    let node = nodes.get(id);
    if (!node) {
      node = { record: null, presence: null, changedAtMs: nowMs(), removedAtMs: [], digest: 0 };
      nodes.set(id, node);
    }
    return node;
  };

  function note(key: string, value: string | null): string | null {
    if (key.startsWith(RECORDS)) {
      const id = key.slice(RECORDS.length);
      const decoded = value === null ? null : decodeRecord(id, value);
      nodeOf(id).record = decoded?.ok ? decoded.value : null;
      return id;
    }
    if (!key.startsWith(PRESENCES)) return null;
    const id = key.slice(PRESENCES.length);
    const node = nodeOf(id);
    const decoded = value === null ? null : decodePresence(value);
    const presence = decoded?.ok ? decoded.value : null;
    if (presence?.session !== node.presence?.session) {
      node.changedAtMs = nowMs();
      if (presence === null) node.removedAtMs = [...node.removedAtMs.slice(-2), nowMs()];
    }
    node.presence = presence;
    return id;
  }

  /** @returns those that are not as they were */
  function retake(ids: Iterable<string>): readonly string[] {
    const changed: string[] = [];
    for (const id of ids) {
      const node = nodeOf(id);
      const { record, presence } = node;
      const next = record === null ? 0 : entryDigest({ record, presence });
      if (next !== node.digest) changed.push(id);
      digest += next - node.digest;
      node.digest = next;
    }
    return changed;
  }

  const current = () => epochs.at(-1) as Moment[];

  return {
    nodes,
    onCommit({ revision, changes }) {
      const touched = new Set<string>();
      for (const { key, now } of changes) {
        const id = note(key, now?.value ?? null);
        if (id !== null) touched.add(id);
      }
      const changed = retake(touched);
      current().push({ revision, atMs: nowMs(), digest, changed });
      return changed;
    },
    onRestored(data) {
      const ids = new Set(nodes.keys());
      for (const id of ids) {
        note(RECORDS + id, data.get(RECORDS + id)?.value ?? null);
        note(PRESENCES + id, data.get(PRESENCES + id)?.value ?? null);
      }
      retake(ids);
      // What was before stays known, for what was read in it.
      const revision = data.revision();
      const past = current().filter((moment) => moment.revision < revision);
      starts.push(nowMs());
      forks.push(past.length);
      epochs.push([...past, { revision, atMs: nowMs(), digest, changed: [] }]);
    },
    digest: () => digest,
    changedAtMs: () => (current().at(-1) as Moment).atMs,
    wasAt: (revision, wanted) =>
      epochs.some((moments) => moments.findLast((moment) => moment.revision <= revision)?.digest === wanted),
    wasSince(sinceMs, wanted) {
      let endMs = Number.POSITIVE_INFINITY;
      for (const [n, moments] of [...epochs.entries()].reverse()) {
        let untilMs = endMs;
        for (let index = moments.length - 1; index >= (forks[n] as number) && untilMs >= sinceMs; index -= 1) {
          const moment = moments[index] as Moment;
          if (moment.digest === wanted) return true;
          untilMs = moment.atMs;
        }
        // The one before went on until the restore.
        endMs = starts[n] as number;
      }
      return false;
    },
    changesBetween(after, upTo) {
      const moments = current();
      const found: string[] = [];
      for (let index = moments.length - 1; index >= 0; index -= 1) {
        const { revision, changed } = moments[index] as Moment;
        if (revision <= after) return found;
        if (revision <= upTo) for (const id of changed) found.push(`${revision} ${id}`);
      }
      return null;
    },
    epoch: () => epochs.length,
  };
}

const digests = new WeakMap<object, number>();

/** Of one entry, the same for equal ones; 0 for none. Its parts have to be as decoding makes them. */
export function entryDigest({ record, presence }: RollEntry): number {
  const part = presence === null ? 7 : digestOf(presence);
  return (digestOf(record) * 31 + part) % 2 ** 40;
}

/** Decoded fields come in one order, so equal values give equal text. Readers decode whole rolls, again and again. */
function digestOf(value: NodeRecord | Presence): number {
  const known = digests.get(value);
  if (known !== undefined) return known;
  const text = JSON.stringify(value);
  let [low, high] = [0x811c9dc5, 0x1234567];
  for (let index = 0; index < text.length; index += 1) {
    low = Math.imul(low ^ text.charCodeAt(index), 0x01000193);
    high = Math.imul(high + text.charCodeAt(index), 0x5bd1e995) ^ low;
  }
  const digest = (low >>> 0) + ((high >>> 0) % 256) * 2 ** 32;
  digests.set(value, digest);
  return digest;
}
