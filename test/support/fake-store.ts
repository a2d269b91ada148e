import type { Roll, RollEntry, SkippedKey } from '../../src/record/roll.ts';
import type { Change, WatchBatch } from '../../src/store/read-roll.ts';
import { MAX_ASKED_PRESENCES } from '../../src/store/read-roll.ts';
import type { Store } from '../../src/store/store.ts';
import { CompactedError, StoreError } from '../../src/store/store-errors.ts';

/**
 * The read side of the `Store` contract in memory, with switches for what a store can do to its readers. Unlike a real
 * one it confirms only when told to (`confirm`), so that a test owns the time.
 */
export interface FakeStore extends Store {
  /** One revision with these entries put and these ids removed. */
  commit(put: readonly RollEntry[], removed?: readonly string[]): void;
  /** One revision with exactly these changes, whatever the entries. */
  emit(changes: readonly Change[]): void;
  revision(): string;
  /** Another client writes to the same store. */
  foreign(): void;
  /** A confirmation to all watchers; with a number, of how long ago they had everything (default: 0). */
  confirm(msAgo?: number): void;
  /** Watches under way fail; the next ones succeed. */
  cutWatches(): void;
  /** Changes up to now can be watched no more. Watches under way fail as compacted. */
  compact(): void;
  /** Goes back to this revision with nothing in it, as a restored backup does. */
  restore(revision: number): void;
  /** `down` rejects at once, `hung` answers nothing and ignores signals; watches under way fail or go silent. */
  mode: 'up' | 'down' | 'hung';
  skipped: readonly SkippedKey[];
  /** Ids whose presence `overdue` calls overdue, while they have one. */
  overdueIds: ReadonlySet<string>;
  readonly calls: { read: number; watch: number };
  /** How often `overdue` was asked. */
  overdueReads: number;
  /** Watches under way. */
  watchers(): number;
}

export function fakeStore(label = 'fake:'): FakeStore {
  const entries = new Map<string, RollEntry>();
  const watching = new Set<(error?: Error) => void>();
  let log: WatchBatch[] = [];
  let revision = 1;
  let compacted = 0;
  let confirmedMsAgo = 0;
  let mode: FakeStore['mode'] = 'up';

  const wakeAll = (error?: Error) => {
    for (const wake of [...watching]) wake(error);
  };
  const away = () => new StoreError(`${label}: connection refused`, { retryable: true });
  const answer = async () => {
    if (mode === 'hung') await new Promise(() => {});
    if (mode === 'down') throw away();
  };
  const emit = (changes: readonly Change[]) => {
    revision += 1;
    log.push({ revision: String(revision), changes });
    wakeAll();
  };
  /** From the end, for the log may be long and a watch is seldom far behind. */
  const after = (last: number) => log.slice(log.findLastIndex((batch) => Number(batch.revision) <= last) + 1);
  const unused = () => Promise.reject(new Error('the fake store is for readers'));

  return {
    label,
    calls: { read: 0, watch: 0 },
    overdueReads: 0,
    skipped: [],
    overdueIds: new Set(),
    register: unused,
    renew: unused,
    untilNotHeld: unused,
    notHeld: unused,
    otherNodes: unused,
    server: unused,
    renewRetention: unused,
    update: unused,
    depart: unused,
    leaderLocks: {
      read: unused,
      list: unused,
      differences: unused,
      campaign: unused,
      renew: unused,
      publish: unused,
      resign: unused,
    },
    drainSlots: { read: unused, list: unused, take: unused, replace: unused, renew: unused, giveBack: unused },
    close: async () => {},

    async id() {
      await answer();
      return label;
    },

    async overdue(instanceIds) {
      this.overdueReads += 1;
      await answer();
      const asked = instanceIds.slice(0, MAX_ASKED_PRESENCES).filter((id) => entries.get(id)?.presence);
      return { asked: asked.length, overdue: asked.filter((id) => this.overdueIds.has(id)).length };
    },

    async readOne(instanceId) {
      await answer();
      return { revision: String(revision), entry: entries.get(instanceId) ?? null, skipped: [] };
    },

    readSummaries(signal) {
      return this.read(signal);
    },

    async read(): Promise<Roll> {
      this.calls.read += 1;
      await answer();
      const ids = [...entries.keys()].sort();
      return {
        revision: String(revision),
        entries: ids.map((id) => entries.get(id) as RollEntry),
        skipped: this.skipped,
      };
    },

    async *watch(from, signal) {
      this.calls.watch += 1;
      await answer();
      let last = Number(from);
      let wake = Promise.withResolvers<void>();
      const onWake = (error?: Error) => (error ? wake.reject(error) : wake.resolve());
      const onAbort = () => {
        wake.promise.catch(() => {}); // nothing waits for it while a batch is being handled
        wake.reject(signal.reason);
      };
      watching.add(onWake);
      signal.addEventListener('abort', onAbort);
      try {
        for (;;) {
          signal.throwIfAborted();
          if (last < compacted) throw new CompactedError(`${label}: revision ${last} is compacted`);
          if (mode === 'hung') await new Promise(() => {});
          const due = after(last);
          for (const batch of due) {
            yield batch;
            last = Number(batch.revision);
          }
          if (due.length > 0) continue;
          await wake.promise;
          wake = Promise.withResolvers();
          // As etcd does, whatever others wrote; where the store went back it says so.
          const confirmed = String(Math.min(last, revision));
          if (after(last).length > 0) continue;
          yield { revision: confirmed, changes: [], confirmedMsAgo };
        }
      } finally {
        watching.delete(onWake);
        signal.removeEventListener('abort', onAbort);
      }
    },

    commit(put, removed = []) {
      const changes: Change[] = [];
      for (const entry of put) {
        const instanceId = entry.record.ec2InstanceId;
        const old = entries.get(instanceId);
        changes.push({ kind: 'record', instanceId, record: entry.record, previous: old?.record ?? null });
        changes.push({ kind: 'presence', instanceId, presence: entry.presence, previous: old?.presence ?? null });
        entries.set(instanceId, entry);
      }
      for (const instanceId of removed) {
        const old = entries.get(instanceId);
        changes.push({ kind: 'record', instanceId, record: null, previous: old?.record ?? null });
        changes.push({ kind: 'presence', instanceId, presence: null, previous: old?.presence ?? null });
        entries.delete(instanceId);
      }
      emit(changes);
    },
    emit,
    revision: () => String(revision),
    foreign() {
      revision += 1;
    },
    confirm(msAgo = 0) {
      confirmedMsAgo = msAgo;
      wakeAll();
    },
    cutWatches: () => wakeAll(new StoreError(`${label}: connection reset`, { retryable: true })),
    compact() {
      revision += 1;
      compacted = revision;
      log = [];
      wakeAll(new CompactedError(`${label}: compacted at ${revision}`));
    },
    restore(to) {
      revision = to;
      compacted = 0;
      log = [];
      entries.clear();
      wakeAll();
    },
    get mode() {
      return mode;
    },
    set mode(next) {
      mode = next;
      if (next === 'down') wakeAll(away());
      if (next === 'hung') wakeAll();
    },
    watchers: () => watching.size,
  };
}
