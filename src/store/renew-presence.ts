import { whyNotHeld } from './decide-seat.ts';
import type { HoldNotes } from './hold-notes.ts';
import { presenceKey, recordKey } from './keys.ts';
import type { Kv } from './kv.ts';
import type { Hold, RenewOutcome } from './store.ts';

/** A beat proves the lease and not the keys, so every so many beats look at these, too: once in a TTL. */
const LOOK_EVERY_BEATS = 3;

/** `Store.renew` over any key-value store. */
export async function renewPresence(kv: Kv, hold: Hold, notes: HoldNotes, signal: AbortSignal): Promise<RenewOutcome> {
  const look = (notes.renewals + 1) % LOOK_EVERY_BEATS === 0;
  // A look that fails says nothing about the beat, and nothing about the keys.
  const looking = look ? lookAtSeat(kv, hold, signal).catch(() => RENEWED) : RENEWED;
  const keeping = kv.keepAlive(hold.presenceLease, signal).then((alive) => {
    // Counted at once: a look that takes too long for its caller must not be made again with every further beat.
    if (alive) notes.renewals += 1;
    return alive;
  });
  const [alive, seen] = await Promise.all([keeping, looking]);
  if (!alive) return { kind: 'lost' };
  return seen;
}

const RENEWED: RenewOutcome = { kind: 'renewed' };

/** Lost where somebody deleted a key of the seat: only registering makes them anew. Reads alone write no revision. */
async function lookAtSeat(kv: Kv, hold: Hold, signal: AbortSignal): Promise<RenewOutcome> {
  const { instanceId } = hold.seat;
  const reads = [presenceKey(instanceId), recordKey(instanceId)];
  const seen = await kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
  const [presence, record] = [seen.reads[0] ?? null, seen.reads[1] ?? null];
  if (presence?.lease !== hold.presenceLease) return whyNotHeld(hold, presence);
  return record === null ? { kind: 'lost' } : RENEWED;
}
