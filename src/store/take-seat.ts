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
  try {
    const presence = settledValue(presenceLease);
    const hold: Hold = {
      seat,
      ttlMs: presence.ttlMs,
      presenceLease: presence.lease,
      retentionLease: settledValue(retentionLease).lease,
    };
    const outcome = await takeWith(kv, hold, record, takeover, settledValue(seen), signal);
    if (outcome.kind === 'superseded') await releaseLeases(kv, granted, signal);
    return outcome;
  } catch (error) {
    // The signal may be the reason, so these run on a signal of their own within the store's deadline; nobody waits for them.
    void releaseLeases(kv, granted, new AbortController().signal);
    throw error;
  }
}

async function takeWith(
  kv: Kv,
  hold: Hold,
  record: NodeRecord,
  takeover: boolean,
  firstSeen: TxnResult,
  signal: AbortSignal,
): Promise<RegisterOutcome> {
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
      // Ending the leases of what was overwritten is how a superseded agent learns of it: its next keep-alive finds none.
      const overwritten = seen.reads.flatMap((kv) => (kv ? [kv.lease] : []));
      await releaseLeases(kv, overwritten, signal);
      return { kind: 'registered', hold, revision: seen.revision };
    }
  }
  throw new StoreError(`register ${instanceId}: the seat changed hands ${MAX_ATTEMPTS} times meanwhile`, {
    retryable: true,
  });
}

function settledValue<T>(result: PromiseSettledResult<T>): T {
  if (result.status === 'rejected') throw result.reason;
  return result.value;
}
