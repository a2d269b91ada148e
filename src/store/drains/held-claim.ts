import type { HeldClaim } from '../drain-slots.ts';
import type { KeyValue } from '../kv.ts';
import { decodeClaim } from './drain-claim.ts';

/** null where there is none, or none that this version can read. */
export function heldClaim(instanceId: string, stored: KeyValue | null): HeldClaim | null {
  const claim = stored && decodeClaim(stored.value);
  return stored && claim && { instanceId, claim, lease: stored.lease, revision: stored.modRevision };
}
