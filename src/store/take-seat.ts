import { encodePresence, encodeRecord } from '../record/codec.ts';
import type { NodeRecord } from '../record/record.ts';
import { decideSeat } from './decide-seat.ts';
import { presenceKey, recordKey } from './keys.ts';
import type { Kv, TxnResult } from './kv.ts';
import { releaseLeases } from './release-leases.ts';
import type { Hold, RegisterOptions, RegisterOutcome, Seat } from './store.ts';
import { StoreError } from './store-error.ts';

/** How often a seat may change hands between our look at it and our write before the caller is told to come again later. */
const MAX_ATTEMPTS = 3;

/** `Store.register` over any key-value store. */
export async function takeSeat(
  kv: Kv,
  seat: Seat,
  record: NodeRecord,
  { takeover, signal }: RegisterOptions,
): Promise<RegisterOutcome> {
  const reads = [presenceKey(seat.instanceId), recordKey(seat.instanceId)];
  const [presenceLease, retentionLease, seen] = await Promise.allSettled([
    kv.grant(seat.ttlMs, signal),
    kv.grant(seat.retentionMs, signal),
    kv.txn({ guards: [], puts: [], deletes: [], reads }, signal),
  ]);
  const granted = [presenceLease, retentionLease].flatMap((g) => (g.status === 'fulfilled' ? [g.value.lease] : []));
  let mayBeWritten = false;
  try {
    const presence = settledValue(presenceLease);
    const hold: Hold = {
      seat,
      ttlMs: presence.ttlMs,
      presenceLease: presence.lease,
      retentionLease: settledValue(retentionLease).lease,
    };
    const firstSeen = settledValue(seen);
    mayBeWritten = true;
    const outcome = await takeWith(kv, hold, record, takeover, firstSeen, signal);
    mayBeWritten = outcome?.kind === 'registered';
    if (outcome) return outcome;
  } catch (error) {
    if (error instanceof StoreError && error.notCarriedOut) mayBeWritten = false;
    throw error;
  } finally {
    // A write without an answer may still be carried out, and releasing its leases could then delete what it wrote.
    // Unused, the presence lease ends by itself after its TTL and the other one after the retention.
    if (!mayBeWritten) releaseLeases(kv, granted);
  }
  throw new StoreError(`register ${seat.instanceId}: the seat changed hands ${MAX_ATTEMPTS} times meanwhile`, {
    retryable: true,
  });
}

/** @returns null when the seat changed hands each time. Rejects where it is not known whether the write happened. */
async function takeWith(
  kv: Kv,
  hold: Hold,
  record: NodeRecord,
  takeover: boolean,
  firstSeen: TxnResult,
  signal: AbortSignal,
): Promise<RegisterOutcome | null> {
  const { instanceId, session, since } = hold.seat;
  const keys = [presenceKey(instanceId), recordKey(instanceId)] as const;
  const puts = [
    {
      key: keys[0],
      value: encodePresence({ session, since, ttlSeconds: hold.ttlMs / 1_000 }),
      lease: hold.presenceLease,
    },
    { key: keys[1], value: encodeRecord(record), lease: hold.retentionLease },
  ];
  let seen = firstSeen;
  // A lost race is tried again without a pause: it was lost because somebody else got on, so this cannot spin.
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const decision = decideSeat(hold.seat, takeover, seen.reads[0] ?? null);
    if (decision.kind === 'superseded') return decision;
    seen = await kv.txn({ guards: decision.guards, puts, deletes: [], reads: keys }, signal);
    if (seen.succeeded) {
      // Ending the leases of what was overwritten is how a superseded agent learns of it soonest: its next keep-alive
      // finds none. Without that, its next write or its next look at its seat tells it.
      releaseLeases(
        kv,
        seen.reads.flatMap((kv) => (kv ? [kv.lease] : [])),
      );
      return { kind: 'registered', hold, revision: seen.revision };
    }
  }
  return null;
}

function settledValue<T>(result: PromiseSettledResult<T>): T {
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}
