import { presenceKey } from './keys.ts';
import type { Kv, LeaseTime } from './kv.ts';
import type { OverdueCount } from './store.ts';

/** A sample of this size tells "a few" from "a third of all", at one request a lease. */
export const MAX_ASKED_PRESENCES = 32;

/** `Store.overdue` over any key-value store. */
export async function countOverdue(kv: Kv, instanceIds: readonly string[], signal: AbortSignal): Promise<OverdueCount> {
  const reads = instanceIds.slice(0, MAX_ASKED_PRESENCES).map(presenceKey);
  if (reads.length === 0) return { asked: 0, overdue: 0 };
  const presences = await kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
  // A presence that somebody wrote by hand has no lease, and never runs out.
  const leases = presences.reads.flatMap((presence) => (presence && presence.lease !== '0' ? [presence.lease] : []));
  // Whoever asks believes that they are all present: one that is gone has just gone the same way as those it knows of.
  const gone = presences.reads.filter((presence) => presence === null).length;
  const times = await kv.remaining(leases, signal);
  return { asked: gone + leases.length, overdue: gone + times.filter(isOverdue).length };
}

/** A lease that ended between the two reads is overdue for certain. */
function isOverdue(time: LeaseTime | null): boolean {
  return time === null || time.remainingMs < time.grantedMs / 2;
}
