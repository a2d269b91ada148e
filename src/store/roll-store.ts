import { collectRoll } from './collect-roll.ts';
import { countOverdue } from './count-overdue.ts';
import { createDrainSlots } from './drains/create-drain-slots.ts';
import { createHoldNotes } from './hold-notes.ts';
import { interpretBatch } from './interpret-batch.ts';
import { presenceKey, recordKey } from './keys.ts';
import type { Kv } from './kv.ts';
import { kvOffices } from './kv-offices.ts';
import { leaveSeat } from './leave-seat.ts';
import { readRoll } from './read-roll.ts';
import { renewPresence } from './renew-presence.ts';
import type { Store } from './store.ts';
import { takeSeat } from './take-seat.ts';
import { updateRecord } from './update-record.ts';

/** The store's contract over any key-value store that has revisions and leases. */
export function createRollStore(kv: Kv): Store {
  const notesOf = createHoldNotes();

  return {
    label: kv.label,
    id: (signal) => kv.id(signal),
    register: async (seat, record, options) => {
      const outcome = await takeSeat(kv, seat, record, options);
      if (outcome.kind === 'registered') notesOf(outcome.hold).recordRevision = outcome.revision;
      return outcome;
    },
    renew: (hold, signal) => renewPresence(kv, hold, notesOf(hold), signal),
    renewRetention: async (hold, signal) =>
      (await kv.keepAlive(hold.retentionLease, signal)) ? { kind: 'renewed' } : { kind: 'lost' },
    update: (hold, record, signal) => updateRecord(kv, hold, notesOf(hold), record, signal),
    depart: (hold, record, signal) => leaveSeat(kv, hold, record, signal),
    read: (signal, { hurry = false } = {}) => readRoll(kv, hurry, signal),
    readOne: async (instanceId, signal) => {
      const reads = [presenceKey(instanceId), recordKey(instanceId)];
      const result = await kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
      const roll = collectRoll();
      roll.add(result.reads.filter((kv) => kv !== null));
      const { entries, skipped } = roll.finish(result.revision);
      return { revision: result.revision, entry: entries[0] ?? null, skipped };
    },
    watch: async function* (revision, signal) {
      for await (const batch of kv.watch(revision, signal)) yield interpretBatch(batch);
    },
    overdue: (instanceIds, signal) => countOverdue(kv, instanceIds, signal),
    offices: kvOffices(kv),
    drainSlots: createDrainSlots(kv),
    close: () => kv.close(),
  };
}
