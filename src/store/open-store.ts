import { readFileSync } from 'node:fs';
import type { Clock } from '../lib/clock.ts';
import { createDrainSlots } from './drain-slots.ts';
import { keysOf, neighbourhoodOf } from './keys.ts';
import type { Kv } from './kv.ts';
import { createLeaderLocks } from './leader-lock.ts';
import { collectRoll, countOverdue, interpretBatch, readRoll, SUMMARY, WHOLE } from './read-roll.ts';
import { createHoldNotes, depart, readHold, untilNotHeld, updateRecord } from './registered-session.ts';
import { createRegister } from './registration.ts';
import { UNKNOWN_BOOT } from './sqlite/engine.ts';
import type { RenewOutcome, Store } from './store.ts';
import type { StoreConfig } from './store-url.ts';

/** The store's contract over any key-value store that has revisions and leases. */
export function createRollStore(kv: Kv): Store {
  const notesOf = createHoldNotes();
  const register = createRegister(kv);
  const renew = async (lease: string, signal: AbortSignal): Promise<RenewOutcome> => ({
    kind: (await kv.keepAlive(lease, signal)) ? 'renewed' : 'lost',
  });

  return {
    label: kv.label,
    id: (signal) => kv.id(signal),
    register: async (registration, record, options) => {
      const outcome = await register(registration, record, options);
      if (outcome.kind === 'registered') {
        Object.assign(notesOf(outcome.hold), { recordRevision: outcome.revision, unwatchedSince: outcome.revision });
      }
      return outcome;
    },
    renew: (hold, signal) => renew(hold.presenceLease, signal),
    renewRetention: (hold, signal) => renew(hold.retentionLease, signal),
    untilNotHeld: (hold, signal) => untilNotHeld(kv, hold, notesOf(hold), signal),
    notHeld: async (hold, signal) => (await readHold(kv, hold, signal)).ended,
    otherNodes: async (instanceId, signal) => {
      const { prefix, share } = neighbourhoodOf(instanceId);
      return Math.max(0, (await kv.count(prefix, signal)) - 1) * share;
    },
    update: (hold, record, signal) => updateRecord(kv, hold, notesOf(hold), record, signal),
    depart: (hold, record, signal) => depart(kv, hold, record, signal),
    read: (signal, { hurry = false } = {}) => readRoll(kv, WHOLE, hurry ? 'hurry' : 'thrifty', signal),
    readSummaries: (signal) => readRoll(kv, SUMMARY, 'hurry', signal),
    readOne: async (instanceId, signal) => {
      const reads = keysOf(instanceId);
      const result = await kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
      const roll = collectRoll(WHOLE);
      roll.add(result.reads.filter((kv) => kv !== null));
      const { entries, skipped } = roll.finish(result.revision);
      return { revision: result.revision, entry: entries[0] ?? null, skipped };
    },
    watch: async function* (revision, signal) {
      for await (const batch of kv.watch(revision, signal)) yield interpretBatch(batch);
    },
    overdue: (instanceIds, signal) => countOverdue(kv, instanceIds, signal),
    leaderLocks: createLeaderLocks(kv),
    drainSlots: createDrainSlots(kv),
    close: () => kv.close(),
  };
}

interface StoreDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  /** Aborts opening the store, which may wait for another process; not the open store. */
  readonly signal: AbortSignal;
  /** Whether a missing embedded store is created: true for writers; for readers it would hide a wrong path. */
  readonly create: boolean;
}

/** Connects to no etcd yet. @throws StoreError when an embedded store's file cannot be used, or the reason of the signal */
export async function openStore(config: StoreConfig, deps: StoreDeps): Promise<Store> {
  return createRollStore(await openKv(config, deps));
}

/** Each kind is loaded on use: an agent on etcd does not load SQLite, a list from SQLite does not load gRPC. */
async function openKv(config: StoreConfig, deps: StoreDeps): Promise<Kv> {
  switch (config.kind) {
    case 'etcd':
      return (await import('./etcd/etcd-kv.ts')).openEtcdKv(config, deps);
    case 'sqlite':
      return (await import('./sqlite/sqlite-kv.ts')).openSqliteKv(config, { ...deps, bootId: readBootId() });
    case 'memory':
      return (await import('./sqlite/sqlite-kv.ts')).openMemoryKv(config, { ...deps, bootId: readBootId() });
  }
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return UNKNOWN_BOOT; // not Linux; leases then end by the wall clock
  }
}
