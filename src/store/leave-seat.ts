import { encodeRecord } from '../record/codec.ts';
import type { NodeRecord } from '../record/record.ts';
import { decideDeparture } from './decide-seat.ts';
import { presenceKey, recordKey } from './keys.ts';
import type { Guard, Kv, TxnResult } from './kv.ts';
import type { Hold, WriteOutcome } from './store.ts';
import { LeaseNotFoundError, StoreError } from './store-error.ts';

const MAX_ATTEMPTS = 3;

/**
 * `Store.depart` over any key-value store. It needs no guard on the record's revision as an update does: it ends the
 * presence, and with it the guard of every earlier write of this hold that may still be on its way. The leases are left
 * to run out: the process is about to exit, and a departure that happened must not wait for tidying.
 */
export async function leaveSeat(kv: Kv, hold: Hold, record: NodeRecord, signal: AbortSignal): Promise<WriteOutcome> {
  const { instanceId } = hold.seat;
  const json = encodeRecord(record);
  let guards: readonly Guard[] = [{ key: presenceKey(instanceId), lease: hold.presenceLease }];
  // As in registering, a lost race needs no pause: it was lost because somebody else got on.
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const result = await writeDeparture(kv, hold, json, guards, signal);
    if (result.succeeded) return { kind: 'written', revision: result.revision };
    const [presence, stored] = [result.reads[0] ?? null, result.reads[1] ?? null];
    const decision = decideDeparture(hold, json, { presence, record: stored });
    if (decision.kind !== 'write') return decision;
    guards = decision.guards;
  }
  throw new StoreError(`depart ${instanceId}: the seat changed ${MAX_ATTEMPTS} times meanwhile`, { retryable: true });
}

/** Puts the record on the hold's retention lease, or, where that is gone, on a new one: the departure is to be readable. */
async function writeDeparture(
  kv: Kv,
  hold: Hold,
  json: string,
  guards: readonly Guard[],
  signal: AbortSignal,
): Promise<TxnResult> {
  const { instanceId, retentionMs } = hold.seat;
  const keys = [presenceKey(instanceId), recordKey(instanceId)] as const;
  const put = (lease: string) =>
    kv.txn({ guards, puts: [{ key: keys[1], value: json, lease }], deletes: [keys[0]], reads: keys }, signal);
  try {
    return await put(hold.retentionLease);
  } catch (error) {
    if (!(error instanceof LeaseNotFoundError)) throw error;
  }
  const { lease } = await kv.grant(retentionMs, signal);
  return put(lease);
}
