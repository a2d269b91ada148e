import { DRAINS } from '../keys.ts';
import type { Kv, RangePage } from '../kv.ts';
import type { StoredClaim } from './decide-room.ts';
import { decodeClaim } from './drain-claim.ts';

/** Claims are few: never more than the nodes that drain. The limit asks for them in one small page. */
const PAGE_CLAIMS = 1_000;

/** All claims of all clusters. */
export async function readClaims(kv: Kv, signal: AbortSignal): Promise<readonly StoredClaim[]> {
  const claims: StoredClaim[] = [];
  let page: RangePage = await kv.range({ prefix: DRAINS, limit: PAGE_CLAIMS }, signal);
  for (;;) {
    for (const { key, value } of page.kvs) {
      claims.push({ instanceId: key.slice(DRAINS.length), claim: decodeClaim(value) });
    }
    if (page.next === null) return claims;
    page = await kv.range({ prefix: DRAINS, from: page.next, limit: PAGE_CLAIMS }, signal);
  }
}
