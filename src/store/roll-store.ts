import { encodeRecord } from '../record/codec.ts';
import { createDrainSlots } from './drain-slots.ts';
import { fleetPartOf, keysOf } from './keys.ts';
import type { Kv } from './kv.ts';
import { createLeaderLocks } from './leader-lock.ts';
import { collectRoll, countOverdue, interpretBatch, readRoll, SUMMARY, WHOLE } from './read-roll.ts';
import { createHoldNotes, depart, readHold, untilNotHeld, updateRecord } from './registered-session.ts';
import { createRegister } from './registration.ts';
import type { RenewOutcome, Store } from './store.ts';

/** The part of a TTL within which a heartbeat has been refused by all members or has got through: less than one in three. */
const HEARTBEAT_LIMIT = 0.3;
/** The members share it: of five that are slow each has 0.9 s, and the publisher waits 5 s. */
const MAX_HEARTBEAT_MS = 4_500;

/** The store's contract over any key-value store that has revisions and leases. @param secret see `createRegister` */
export function createRollStore(kv: Kv, secret = ''): Store {
  const notesOf = createHoldNotes();
  const register = createRegister(kv, secret);
  const renew = async (lease: string, signal: AbortSignal, limitMs?: number): Promise<RenewOutcome> => ({
    kind: (await kv.keepAlive(lease, signal, limitMs)) ? 'renewed' : 'lost',
  });

  return {
    label: kv.label,
    id: (signal) => kv.id(signal),
    server: (signal) => kv.server(signal),
    register: async (registration, record, options) => {
      const outcome = await register(registration, record, options);
      if (outcome.kind === 'registered') {
        const { hold, revision } = outcome;
        const texts = [encodeRecord(record)];
        Object.assign(notesOf(hold), { recordRevision: revision, unwatchedSince: revision, texts });
      }
      return outcome;
    },
    renew: (hold, signal) =>
      renew(hold.presenceLease, signal, Math.min(hold.ttlMs * HEARTBEAT_LIMIT, MAX_HEARTBEAT_MS)),
    renewRetention: (hold, signal) => renew(hold.retentionLease, signal),
    untilNotHeld: (hold, signal) => untilNotHeld(kv, hold, notesOf(hold), signal),
    notHeld: async (hold, signal) => (await readHold(kv, hold, notesOf(hold), signal)).ended,
    otherNodes: async (instanceId, signal) => {
      const { prefix, share } = fleetPartOf(instanceId);
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
