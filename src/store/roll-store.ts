import { encodeRecord } from '../record/codec.ts';
import { collectRoll } from './collect-roll.ts';
import { whyNotHeld } from './decide-seat.ts';
import { interpretBatch } from './interpret-batch.ts';
import { presenceKey, recordKey } from './keys.ts';
import type { Kv } from './kv.ts';
import { leaveSeat } from './leave-seat.ts';
import { readRoll } from './read-roll.ts';
import type { Store } from './store.ts';
import { LeaseNotFoundError } from './store-error.ts';
import { takeSeat } from './take-seat.ts';

/** The store's contract over any key-value store that has revisions and leases. */
export function createRollStore(kv: Kv): Store {
  const renewLease = async (lease: string, signal: AbortSignal) =>
    (await kv.keepAlive(lease, signal)) ? ({ kind: 'renewed' } as const) : ({ kind: 'lost' } as const);

  return {
    label: kv.label,
    register: (seat, record, options) => takeSeat(kv, seat, record, options),
    renew: (hold, signal) => renewLease(hold.presenceLease, signal),
    renewRetention: (hold, signal) => renewLease(hold.retentionLease, signal),
    update: async (hold, record, signal) => {
      const { instanceId } = hold.seat;
      const presence = presenceKey(instanceId);
      const put = { key: recordKey(instanceId), value: encodeRecord(record), lease: hold.retentionLease };
      try {
        const guards = [{ key: presence, lease: hold.presenceLease }];
        const result = await kv.txn({ guards, puts: [put], deletes: [], reads: [presence] }, signal);
        return result.succeeded
          ? { kind: 'written', revision: result.revision }
          : whyNotHeld(hold, result.reads[0] ?? null);
      } catch (error) {
        // The retention lease ran out under a living presence: registering makes both anew.
        if (error instanceof LeaseNotFoundError) return { kind: 'lost' };
        throw error;
      }
    },
    depart: (hold, record, signal) => leaveSeat(kv, hold, record, signal),
    read: (signal) => readRoll(kv, signal),
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
    close: () => kv.close(),
  };
}
