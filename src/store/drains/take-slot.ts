import type { SlotRequest, TakeOutcome } from '../drain-slots.ts';
import { drainDoorKey, drainKey } from '../keys.ts';
import type { Kv } from '../kv.ts';
import { readRoll } from '../read-roll.ts';
import { releaseLeases } from '../release-leases.ts';
import { clusterScope } from './cluster-scope.ts';
import { decideRoom } from './decide-room.ts';
import { encodeClaim } from './drain-claim.ts';
import { heldClaim } from './held-claim.ts';
import { readClaims } from './read-claims.ts';

/** As the retention's default: a restarted agent still knows that it was rollcall that drained its node. */
const CLAIM_TTL_MS = 86_400_000;

/**
 * How long one agent may take to count and claim, and how long "none free" stands at the door. Whoever comes meanwhile
 * reads one small key and goes: a fleet whose nodes all want to drain reads its roll four times a minute, not each node.
 */
const DOOR_TTL_MS = 15_000;

/**
 * `DrainSlots.take` over any key-value store: one at a time per cluster. The door is a key on a short lease: who made it
 * counts claims and nodes, and its claim is guarded by the door's revision. An agent that was too slow finds another
 * door there, or none, and has claimed nothing.
 */
export async function takeSlot(kv: Kv, request: SlotRequest, signal: AbortSignal): Promise<TakeOutcome> {
  const { instanceId, claim, maxSharePercent } = request;
  const own = drainKey(instanceId);
  const door = drainDoorKey(claim.cluster, clusterScope(claim.arn));
  const seen = await kv.txn({ guards: [], puts: [], deletes: [], reads: [own, door] }, signal);
  const held = heldClaim(instanceId, seen.reads[0] ?? null);
  if (held) return { kind: 'taken', held };
  if (seen.reads[1]) return told(seen.reads[1].value);

  const turn = await kv.grant(DOOR_TTL_MS, signal);
  const opened = await kv.txn(
    {
      guards: [{ key: door, modRevision: '0' }],
      puts: [{ key: door, value: JSON.stringify({ by: claim.session, full: null }), lease: turn.lease }],
      deletes: [],
      reads: [],
    },
    signal,
  );
  if (!opened.succeeded) {
    releaseLeases(kv, [turn.lease]);
    return { kind: 'busy' };
  }
  const mine = { key: door, modRevision: opened.revision };
  // After the door was opened: no claim is made from now on but ours.
  const claims = (await readClaims(kv, signal)).filter((each) => each.instanceId !== instanceId);
  const roll = await readRoll(kv, false, signal);
  const room = decideRoom(claim, claims, roll, maxSharePercent);
  if (!room.free) {
    const value = JSON.stringify({ by: claim.session, full: room.reason });
    const sign = { key: door, value, lease: turn.lease };
    await kv.txn({ guards: [mine], puts: [sign], deletes: [], reads: [] }, signal);
    return { kind: 'full', reason: room.reason };
  }
  const slot = await kv.grant(CLAIM_TTL_MS, signal);
  const put = { key: own, value: encodeClaim(claim), lease: slot.lease };
  // What another one put there meanwhile is for the next look; this node's own is never overwritten.
  const guards = [mine, { key: own, modRevision: seen.reads[0]?.modRevision ?? '0' }];
  const written = await kv.txn({ guards, puts: [put], deletes: [door], reads: [] }, signal);
  releaseLeases(kv, written.succeeded ? [turn.lease] : [turn.lease, slot.lease]);
  if (!written.succeeded) return { kind: 'busy' };
  return { kind: 'taken', held: { instanceId, claim, lease: slot.lease, revision: written.revision } };
}

/** What stands at a door that is another's. */
function told(value: string): TakeOutcome {
  try {
    const { full } = Object(JSON.parse(value)) as { full?: unknown };
    if (typeof full === 'string') return { kind: 'full', reason: full };
  } catch {
    // Whoever wrote it, its lease ends.
  }
  return { kind: 'busy' };
}
