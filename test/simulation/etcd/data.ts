/** What an etcd cluster has agreed on: keys with their past, and leases with their keys. Time is not part of it. */
export interface Data {
  revision(): number;
  compacted(): number;
  get(key: string): Stored | null;
  /** @throws CompactedRevision, FutureRevision */
  range(query: RangeOf): { readonly kvs: readonly Stored[]; readonly count: number };
  /** All at one new revision; none if nothing changes. */
  write(writes: readonly Write[]): Revision | null;
  /** The revisions after that one that are still known. */
  after(revision: number): readonly Revision[];
  compact(revision: number): void;
  leases(): ReadonlyMap<string, Lease>;
  grant(lease: string, ttlSeconds: number): void;
  /** Its keys go with it. */
  revoke(lease: string): Revision | null;
  /** As it is now, to be gone on with later. */
  copy(): Data;
}

export interface Stored {
  readonly key: string;
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  /** `'0'`: none. */
  readonly lease: string;
}

export interface Lease {
  readonly ttlSeconds: number;
  readonly keys: ReadonlySet<string>;
}

/** `value` null: deleted. */
export interface Write {
  readonly key: string;
  readonly value: string | null;
  readonly lease: string;
}

export interface Change {
  readonly key: string;
  readonly now: Stored | null;
  readonly previous: Stored | null;
}

export interface Revision {
  readonly revision: number;
  readonly changes: readonly Change[];
}

export interface RangeOf {
  readonly from: string;
  /** null: `from` alone. */
  readonly end: string | null;
  /** 0: the newest. */
  readonly revision: number;
  readonly minModRevision: number;
}

export class CompactedRevision extends Error {}
export class FutureRevision extends Error {}

interface State {
  revision: number;
  compacted: number;
  /** Each key's values and deletions, the oldest first; `stored` null: deleted. */
  readonly versions: Map<string, { readonly revision: number; readonly stored: Stored | null }[]>;
  readonly leases: Map<string, { readonly ttlSeconds: number; readonly keys: Set<string> }>;
  readonly log: Revision[];
}

export function emptyData(): Data {
  return dataOf({ revision: 1, compacted: 0, versions: new Map(), leases: new Map(), log: [] });
}

function dataOf(state: State): Data {
  const { versions, leases, log } = state;
  /** The keys in order; null: to be sorted again. */
  let sorted: string[] | null = null;

  const get = (key: string): Stored | null => versions.get(key)?.at(-1)?.stored ?? null;

  const getAt = (key: string, revision: number): Stored | null =>
    versions.get(key)?.findLast((version) => version.revision <= revision)?.stored ?? null;

  function write(writes: readonly Write[]): Revision | null {
    const revision = state.revision + 1;
    const changes: Change[] = [];
    for (const { key, value, lease } of writes) {
      const previous = get(key);
      if (value === null && previous === null) continue;
      const createRevision = previous?.createRevision ?? revision;
      const now = value === null ? null : { key, value, createRevision, modRevision: revision, lease };
      if (!versions.has(key)) {
        versions.set(key, []);
        sorted = null;
      }
      versions.get(key)?.push({ revision, stored: now });
      if (previous) leases.get(previous.lease)?.keys.delete(key);
      if (now) leases.get(lease)?.keys.add(key);
      changes.push({ key, now, previous });
    }
    if (changes.length === 0) return null;
    state.revision = revision;
    const written = { revision, changes };
    log.push(written);
    return written;
  }

  return {
    revision: () => state.revision,
    compacted: () => state.compacted,
    get,
    range({ from, end, revision, minModRevision }) {
      if (revision > state.revision) throw new FutureRevision();
      if (revision !== 0 && revision < state.compacted) throw new CompactedRevision();
      sorted ??= [...versions.keys()].sort();
      const keys = end === null ? [from] : sorted.slice(firstFrom(sorted, from), firstFrom(sorted, end));
      const kvs: Stored[] = [];
      for (const key of keys) {
        const stored = revision === 0 ? get(key) : getAt(key, revision);
        if (stored) kvs.push(stored);
      }
      const wanted = minModRevision === 0 ? kvs : kvs.filter(({ modRevision }) => modRevision >= minModRevision);
      return { kvs: wanted, count: kvs.length };
    },
    write,
    after: (revision) => log.slice(firstAfter(log, revision)),
    compact(revision) {
      if (revision <= state.compacted) return;
      state.compacted = revision;
      log.splice(0, firstAfter(log, revision));
      for (const [key, past] of versions) {
        const kept = past.findLastIndex((version) => version.revision <= revision);
        if (kept > 0) past.splice(0, kept);
        if (past.length > 1 || past[0]?.stored || (past[0]?.revision ?? 0) > revision) continue;
        versions.delete(key);
        sorted = null;
      }
    },
    leases: () => leases,
    grant(lease, ttlSeconds) {
      leases.set(lease, { ttlSeconds, keys: new Set() });
    },
    revoke(lease) {
      const keys = [...(leases.get(lease)?.keys ?? [])].sort();
      const revision = write(keys.map((key) => ({ key, value: null, lease: '0' })));
      leases.delete(lease);
      return revision;
    },
    copy: () =>
      dataOf({
        revision: state.revision,
        compacted: state.compacted,
        versions: new Map([...versions].map(([key, past]) => [key, [...past]])),
        leases: new Map([...leases].map(([id, { ttlSeconds, keys }]) => [id, { ttlSeconds, keys: new Set(keys) }])),
        log: [...log],
      }),
  };
}

/** The index of the first that is not before `key`. */
function firstFrom(sorted: readonly string[], key: string): number {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((sorted[middle] as string) < key) from = middle + 1;
    else to = middle;
  }
  return from;
}

function firstAfter(log: readonly Revision[], revision: number): number {
  let [from, to] = [0, log.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((log[middle] as Revision).revision <= revision) from = middle + 1;
    else to = middle;
  }
  return from;
}
