import type { SlotRequest, TakeOutcome } from '../drain-slots.ts';
import { drainDoorKey, drainKey } from '../keys.ts';
import type { KeyValue, Kv } from '../kv.ts';
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
 * How long one agent may take to count and claim, and how long "none free" stands at the door unless who wrote it comes
 * again. Whoever comes meanwhile reads one small key and goes: of a fleet whose nodes all want to drain one agent reads
 * the roll, and while nothing changes none writes.
 */
const DOOR_TTL_MS = 30_000;

/**
 * `DrainSlots.take` over any key-value store: one at a time per cluster. The door is a key on a short lease: who made it
 * counts claims and nodes, and its claim is guarded by the door's revision. An agent that was too slow finds another
 * door there, or none, and has claimed nothing. Who found none free keeps the door and counts again when it comes back:
 * nobody else has claimed meanwhile.
 */
export async function takeSlot(kv: Kv, request: SlotRequest, signal: AbortSignal): Promise<TakeOutcome> {
  const { instanceId, claim, maxSharePercent } = request;
  const own = drainKey(instanceId);
  const door = drainDoorKey(claim.cluster, clusterScope(claim.arn));
  const seen = await kv.txn({ guards: [], puts: [], deletes: [], reads: [own, door] }, signal);
  const held = heldClaim(instanceId, seen.reads[0] ?? null);
  if (held) return { kind: 'taken', held };
  const standing = seen.reads[1] ?? null;
  const sign = standing && readSign(standing.value);
  const ours = sign?.by === claim.session;
  // Its share may let this one in: a single agent that was told less than the others must not keep them all out.
  const pass = sign?.full != null && sign.sharePercent !== null && sign.sharePercent < maxSharePercent;
  if (sign && !ours && !pass) {
    return sign.full === null ? { kind: 'busy' } : { kind: 'full', reason: sign.full, keepsDoorMs: null };
  }
  const mySign = { by: claim.session, sharePercent: maxSharePercent };
  const doorBefore = { key: door, modRevision: standing?.modRevision ?? '0' };
  const kept =
    standing && ours ? await keep(kv, standing, signal) : await open(kv, doorBefore, { ...mySign, full: null }, signal);
  if (!kept) return { kind: 'busy' };
  const mine = { key: door, modRevision: kept.revision };
  // Since the door was opened no claim is made but ours.
  const claims = (await readClaims(kv, signal)).filter((each) => each.instanceId !== instanceId);
  const roll = await readRoll(kv, false, signal);
  const room = decideRoom(claim, claims, roll, maxSharePercent);
  if (!room.free) {
    const value = writeSign({ ...mySign, full: room.reason });
    const puts = [{ key: door, value, lease: kept.lease }];
    if (value !== standing?.value) await kv.txn({ guards: [mine], puts, deletes: [], reads: [] }, signal);
    return { kind: 'full', reason: room.reason, keepsDoorMs: DOOR_TTL_MS };
  }
  const slot = await kv.grant(CLAIM_TTL_MS, signal);
  const put = { key: own, value: encodeClaim(claim), lease: slot.lease };
  // What another one put there meanwhile is for the next look; this node's own is never overwritten.
  const guards = [mine, { key: own, modRevision: seen.reads[0]?.modRevision ?? '0' }];
  const written = await kv.txn({ guards, puts: [put], deletes: [door], reads: [] }, signal);
  releaseLeases(kv, written.succeeded ? [kept.lease] : [kept.lease, slot.lease]);
  if (!written.succeeded) return { kind: 'busy' };
  return { kind: 'taken', held: { instanceId, claim, lease: slot.lease, revision: written.revision } };
}

interface Door {
  readonly lease: string;
  readonly revision: string;
}

/** null: another was faster. @param before as the door was seen */
async function open(
  kv: Kv,
  before: { readonly key: string; readonly modRevision: string },
  sign: Sign,
  signal: AbortSignal,
): Promise<Door | null> {
  const { lease } = await kv.grant(DOOR_TTL_MS, signal);
  const puts = [{ key: before.key, value: writeSign(sign), lease }];
  const { succeeded, revision } = await kv.txn({ guards: [before], puts, deletes: [], reads: [] }, signal);
  if (!succeeded) releaseLeases(kv, [lease]);
  return succeeded ? { lease, revision } : null;
}

/** null: its time was over. */
async function keep(kv: Kv, { lease, modRevision }: KeyValue, signal: AbortSignal): Promise<Door | null> {
  return (await kv.keepAlive(lease, signal)) ? { lease, revision: modRevision } : null;
}

/** What stands at a door: whose it is, what share that one goes by, and why nobody gets in; null: it is not known yet. */
interface Sign {
  readonly by: string | null;
  readonly sharePercent: number | null;
  readonly full: string | null;
}

function writeSign({ by, sharePercent, full }: Sign): string {
  return JSON.stringify({ by, sharePercent, full });
}

/** Whoever wrote one that cannot be read, its lease ends. */
function readSign(value: string): Sign {
  const text = (part: unknown) => (typeof part === 'string' ? part : null);
  try {
    const { by, sharePercent, full } = Object(JSON.parse(value)) as Record<string, unknown>;
    return { by: text(by), sharePercent: typeof sharePercent === 'number' ? sharePercent : null, full: text(full) };
  } catch {
    return { by: null, sharePercent: null, full: null };
  }
}
