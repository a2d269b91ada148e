import { encodeRecord } from '../record/codec.ts';
import type { NodeRecord } from '../record/record.ts';
import { unchanged, whyNotHeld } from './decide-seat.ts';
import type { HoldNotes } from './hold-notes.ts';
import { presenceKey, recordKey } from './keys.ts';
import type { Kv } from './kv.ts';
import type { Hold, WriteOutcome } from './store.ts';
import { LeaseNotFoundError, StoreError } from './store-error.ts';

const MAX_ATTEMPTS = 3;

/**
 * `Store.update` over any key-value store. The guard on the record's revision is against this hold's own past: a write
 * whose answer was lost may still be on its way, and must not be carried out after a newer one. Of two such writes
 * only one can meet the revision that both expect; the newer one is here to look again, the older one is not.
 */
export async function updateRecord(
  kv: Kv,
  hold: Hold,
  notes: HoldNotes,
  record: NodeRecord,
  signal: AbortSignal,
): Promise<WriteOutcome> {
  const { instanceId } = hold.seat;
  const keys = [presenceKey(instanceId), recordKey(instanceId)] as const;
  const held = { key: keys[0], lease: hold.presenceLease };
  const put = { key: keys[1], value: encodeRecord(record), lease: hold.retentionLease };
  try {
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      const guards = [held, { key: keys[1], modRevision: notes.recordRevision }];
      const result = await kv.txn({ guards, puts: [put], deletes: [], reads: keys }, signal);
      if (result.succeeded) {
        notes.recordRevision = result.revision;
        return { kind: 'written', revision: result.revision };
      }
      const [presence, stored] = [result.reads[0] ?? null, result.reads[1] ?? null];
      if (presence?.lease !== hold.presenceLease) return whyNotHeld(hold, presence);
      notes.recordRevision = unchanged(keys[1], stored).modRevision;
      // Written by an attempt whose answer was lost: once more would be a change with nothing changed.
      if (stored?.value === put.value && stored.lease === put.lease)
        return { kind: 'written', revision: stored.modRevision };
    }
  } catch (error) {
    // The retention lease ran out under a living presence: registering makes both anew.
    if (error instanceof LeaseNotFoundError) return { kind: 'lost' };
    throw error;
  }
  throw new StoreError(`update ${instanceId}: its record changed ${MAX_ATTEMPTS} times meanwhile`, { retryable: true });
}
