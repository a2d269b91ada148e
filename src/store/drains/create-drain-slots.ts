import type { DrainSlots } from '../drain-slots.ts';
import { drainKey } from '../keys.ts';
import type { Kv } from '../kv.ts';
import { releaseLeases } from '../release-leases.ts';
import { LeaseNotFoundError } from '../store-error.ts';
import { encodeClaim } from './drain-claim.ts';
import { heldClaim } from './held-claim.ts';
import { takeSlot } from './take-slot.ts';

/** The contract over any key-value store that has revisions and leases. */
export function createDrainSlots(kv: Kv): DrainSlots {
  return {
    read: async (instanceId, signal) => {
      const reads = [drainKey(instanceId)];
      const result = await kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
      return heldClaim(instanceId, result.reads[0] ?? null);
    },
    take: (request, signal) => takeSlot(kv, request, signal),
    replace: async (held, claim, signal) => {
      const key = drainKey(held.instanceId);
      const guards = [{ key, modRevision: held.revision }];
      const puts = [{ key, value: encodeClaim(claim), lease: held.lease }];
      try {
        const result = await kv.txn({ guards, puts, deletes: [], reads: [] }, signal);
        return result.succeeded ? { ...held, claim, revision: result.revision } : null;
      } catch (error) {
        if (error instanceof LeaseNotFoundError) return null;
        throw error;
      }
    },
    renew: (held, signal) => kv.keepAlive(held.lease, signal),
    giveBack: async (held, signal) => {
      const key = drainKey(held.instanceId);
      const guards = [{ key, modRevision: held.revision }];
      const result = await kv.txn({ guards, puts: [], deletes: [key], reads: [] }, signal);
      if (result.succeeded) releaseLeases(kv, [held.lease]);
    },
  };
}
