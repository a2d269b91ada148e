import { clusterScope, mayShareScope } from '../ecs/arn.ts';
import type { Roll, RollEntry } from '../record/roll.ts';
import { DRAINS, drainAdmissionKey, drainKey } from './keys.ts';
import { type Guard, type KeyValue, type Kv, type RangePage, releaseLeases } from './kv.ts';
import { readRoll, WHOLE } from './read-roll.ts';
import { LeaseNotFoundError } from './store-errors.ts';
import { unreadableNodes } from './unreadable-nodes.ts';

/**
 * How many nodes of a cluster may drain at once, agreed among all agents through the store. A claim holds a slot from
 * before its node is drained until it is active again.
 *
 * Methods fail as those of `Store` do. A rejected write may or may not have happened; each can safely be sent again.
 */
export interface DrainSlots {
  /** This node's claim; null: none. */
  read(instanceId: string, signal: AbortSignal): Promise<HeldClaim | null>;

  /** The claims of all nodes of all clusters. */
  list(signal: AbortSignal): Promise<readonly StoredClaim[]>;

  /**
   * Takes a slot if one is free now. A cluster has floor(share × its present nodes) slots, and at least one. Two agents
   * never both get the last one. A node that has a claim already gets that claim, unless it is `insteadOf`.
   */
  take(request: SlotRequest, signal: AbortSignal): Promise<TakeOutcome>;

  /**
   * Replaces the claim; null: the stored claim is no longer the one in `held`. It stays on its lease, unless the new phase
   * has another TTL: that of a node that may be drained is longer.
   */
  replace(held: HeldClaim, claim: DrainClaim, signal: AbortSignal): Promise<HeldClaim | null>;

  /** Renews the claim's lease; false: the claim is gone. Writes no revision. */
  renew(held: HeldClaim, signal: AbortSignal): Promise<boolean>;

  /** False: it did nothing, because the stored claim is no longer the one in `held`. */
  giveBack(held: HeldClaim, signal: AbortSignal): Promise<boolean>;
}

/**
 * - `claimed`: the node has a slot; ECS was not asked yet. - `asked`: the node was ACTIVE and ECS is being asked to drain
 * it; if it is DRAINING now, rollcall caused that. - `drained`: ECS drains it because rollcall asked. - `overruled`:
 * something other than rollcall set it ACTIVE again; the claim uses no slot, and only records that until the cause is over.
 * - `activating`: its agent is asking ECS to make it ACTIVE again. - `manual`: an operator drained it with `rollcall
 * drain`; its agent leaves it alone until `rollcall undrain`.
 */
const CLAIM_PHASES = ['claimed', 'asked', 'drained', 'overruled', 'activating', 'manual'] as const;

/** The value of `coordination/v1/drains/<instanceId>`. */
export interface DrainClaim {
  readonly phase: (typeof CLAIM_PHASES)[number];
  /** The ARN of the container instance to drain. */
  readonly arn: string;
  readonly cluster: string;
  /** One line for a person. */
  readonly reason: string;
  /** RFC 3339. */
  readonly since: string;
  /** The agent process that made the claim. */
  readonly session: string;
  /**
   * What stood when the claim was made or overruled, as `standingCauses` names it: an overruled claim keeps the agent from
   * draining the node for these. Absent: for any cause.
   */
  readonly causes?: readonly string[];
}

/** The claim after the node was made ACTIVE by something other than its agent, while `causes` stand; pure. */
export function overruled(claim: DrainClaim, causes: readonly string[]): DrainClaim {
  return { ...claim, phase: 'overruled', causes: [...new Set([...(claim.causes ?? []), ...causes])] };
}

/** A stored claim. Lease and revision are the store's identifiers: opaque to everything else. */
export interface HeldClaim {
  readonly instanceId: string;
  readonly claim: DrainClaim;
  readonly lease: string;
  readonly revision: string;
}

interface SlotRequest {
  readonly instanceId: string;
  readonly claim: DrainClaim;
  /** Percent of the cluster's present nodes, 0 to 100; null: take a slot however many are taken. */
  readonly maxSharePercent: number | null;
  /** A claim of this node that uses no slot, or one for another container instance: the new claim replaces it. */
  readonly insteadOf?: HeldClaim;
}

export type TakeOutcome =
  | { readonly kind: 'taken'; readonly held: HeldClaim }
  /**
   * `reason`: one line that says how many slots are taken, of how many. `keepsLockMs`: this agent holds the cluster's
   * admission lock for so long and no other agent counts slots meanwhile; it keeps the lock by asking again in time, which
   * writes nothing. null: another agent holds the lock.
   */
  | { readonly kind: 'full'; readonly reason: string; readonly keepsLockMs: number | null }
  /** Another agent is counting slots; try again. */
  | { readonly kind: 'busy' };

/** A claim as it is stored. */
export interface StoredClaim {
  readonly instanceId: string;
  /** null: the stored claim cannot be read. */
  readonly claim: DrainClaim | null;
}

interface Room {
  readonly free: boolean;
  readonly taken: number;
  readonly slots: number;
  /** One line for a person. */
  readonly reason: string;
}

/**
 * Whether one more node of the cluster may drain; pure. A claim that is in doubt counts: too few nodes drain rather than
 * too many.
 * @param claims those of all clusters, without the asking node's own @param maxSharePercent 0 to 100
 */
export function decideRoom(
  { cluster, arn }: Pick<DrainClaim, 'cluster' | 'arn'>,
  claims: readonly StoredClaim[],
  roll: Roll,
  maxSharePercent: number,
): Room {
  const scope = clusterScope(arn);
  const isNear = (arn: string | null | undefined) => mayShareScope(scope, clusterScope(arn));
  const records = new Map(roll.entries.map((entry) => [entry.record.ec2InstanceId, entry]));
  const unreadable = unreadableNodes(roll.skipped);
  const present = roll.entries.filter(
    ({ record, presence }) => presence && record.cluster === cluster && isNear(record.containerInstanceArn),
  ).length;
  // The small addend makes 30 % of 10 nodes 3 in spite of floating point.
  const slots = Math.max(1, Math.floor((maxSharePercent * present) / 100 + 1e-9));
  const holders = claims.filter(({ instanceId, claim }) => {
    if (claim?.phase === 'overruled') return false;
    const entry = records.get(instanceId);
    if (!isNear(claim?.arn ?? entry?.record.containerInstanceArn)) return false;
    // Of a forgotten node, whose claim outlives its record. An unreadable claim counts for its node's cluster.
    if (!entry) return unreadable(instanceId) !== null && (claim === null || claim.cluster === cluster);
    if ((claim?.cluster ?? entry.record.cluster) !== cluster) return false;
    return !isGoneForGood(entry);
  });
  const taken = holders.length;
  const names = holders.slice(0, 3).map(({ instanceId }) => instanceId);
  const more = taken > names.length ? ` and ${taken - names.length} more` : '';
  const reason = `${taken} of ${slots} drain slots of ${cluster} are taken${taken > 0 ? `: ${names.join(', ')}${more}` : ''}`;
  return { free: taken < slots, taken, slots, reason };
}

/**
 * Whether a node that is not present will not come back: its instance was about to be terminated when its agent
 * deregistered, or, for a spot interruption, which AWS does not withdraw, when it was lost. An instance or agent that was
 * only stopped may come back as the same container instance, still drained.
 */
export function isGoneForGood({ presence, record: { departure, interruption } }: RollEntry): boolean {
  if (presence !== null) return false;
  const cause = departure?.cause ?? (interruption?.kind === 'spot-interruption' ? interruption.kind : null);
  return (cause === 'spot-interruption' || cause === 'asg-termination') && interruption?.action === 'terminate';
}

function encodeClaim({ phase, arn, cluster, reason, since, session, causes }: DrainClaim): string {
  return JSON.stringify({ phase, arn, cluster, reason, since, session, causes });
}

/** null: not a claim that this version can read. */
function decodeClaim(text: string): DrainClaim | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const { phase: phaseText, ...fields } = Object(value) as Record<string, unknown>;
  const phase = CLAIM_PHASES.find((each) => each === phaseText);
  const { arn, cluster, reason, since, session } = fields;
  if (!phase || typeof arn !== 'string' || typeof cluster !== 'string') return null;
  if (typeof reason !== 'string' || typeof since !== 'string' || typeof session !== 'string') return null;
  const claim = { phase, arn, cluster, reason, since, session };
  const { causes } = fields;
  return isTexts(causes) ? { ...claim, causes } : claim;
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}

/** null: no claim, or not one that this version can read. */
function heldClaim(instanceId: string, stored: KeyValue | null): HeldClaim | null {
  const claim = stored && decodeClaim(stored.value);
  return stored && claim && { instanceId, claim, lease: stored.lease, revision: stored.modRevision };
}

/** There are never more claims than draining nodes, so one page has them all in practice. */
const PAGE_CLAIMS = 1_000;

/** All claims of all clusters. */
async function readClaims(kv: Kv, signal: AbortSignal): Promise<readonly StoredClaim[]> {
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

/** The default retention: a claim without which nothing stays drained lives as long as the record of its node. */
const CLAIM_TTL_MS = 86_400_000;
/**
 * Of a node that may be DRAINING: without the claim its agent, however late it comes back, does not make it ACTIVE again. And
 * an agent without --drain-on does not renew an operator's claim. A claim of a node that is forgotten uses no slot.
 */
const DRAINED_CLAIM_TTL_MS = 7 * CLAIM_TTL_MS;

function ttlMsOf({ phase }: DrainClaim): number {
  return phase === 'claimed' || phase === 'overruled' ? CLAIM_TTL_MS : DRAINED_CLAIM_TTL_MS;
}

/**
 * How long one agent may take to count and claim, and how long "no slot is free" stays in the lock unless its holder asks
 * again. Other agents meanwhile read only that one small key: in a fleet whose nodes all want to drain, one agent reads
 * the roll, and none writes while nothing changes.
 */
const ADMISSION_TTL_MS = 30_000;

/**
 * `DrainSlots.take` over any key-value store: one agent at a time in each cluster. The admission lock is a key on a short
 * lease: its holder counts claims and nodes, and its own claim is guarded by the lock's revision. An agent that took too
 * long finds another lock, or none, and its claim fails. A holder that found no free slot keeps the lock and counts again
 * when it next asks: no other agent has claimed meanwhile.
 */
async function takeSlot(kv: Kv, request: SlotRequest, signal: AbortSignal): Promise<TakeOutcome> {
  const { instanceId, claim, maxSharePercent } = request;
  const own = drainKey(instanceId);
  const lockKey = drainAdmissionKey(claim.cluster, clusterScope(claim.arn));
  const seen = await kv.txn({ guards: [], puts: [], deletes: [], reads: [own, lockKey] }, signal);
  const held = heldClaim(instanceId, seen.reads[0] ?? null);
  if (held && held.revision !== request.insteadOf?.revision) return { kind: 'taken', held };
  const ownGuard = { key: own, modRevision: seen.reads[0]?.modRevision ?? '0' };
  if (maxSharePercent === null) return writeClaim(kv, request, [ownGuard], [], signal);
  const stored = seen.reads[1] ?? null;
  const state = stored && decodeAdmission(stored.value);
  const ours = state?.by === claim.session;
  // The holder's share may be smaller than this agent's: one agent with a small share must not keep out all others.
  const bypass = state?.full != null && state.sharePercent !== null && state.sharePercent < maxSharePercent;
  if (state && !ours && !bypass) {
    return state.full === null ? { kind: 'busy' } : { kind: 'full', reason: state.full, keepsLockMs: null };
  }
  const ownState = { by: claim.session, sharePercent: maxSharePercent };
  const lockBefore = { key: lockKey, modRevision: stored?.modRevision ?? '0' };
  const kept =
    stored && ours
      ? await renewLock(kv, stored, signal)
      : await acquireLock(kv, lockBefore, { ...ownState, full: null }, signal);
  if (!kept) return { kind: 'busy' };
  const mine = { key: lockKey, modRevision: kept.revision };
  // While this agent holds the lock, no other agent can claim.
  const claims = (await readClaims(kv, signal)).filter((each) => each.instanceId !== instanceId);
  const roll = await readRoll(kv, WHOLE, 'thrifty', signal);
  const room = decideRoom(claim, claims, roll, maxSharePercent);
  if (!room.free) {
    const value = encodeAdmission({ ...ownState, full: room.reason });
    const puts = [{ key: lockKey, value, lease: kept.lease }];
    if (value !== stored?.value) await kv.txn({ guards: [mine], puts, deletes: [], reads: [] }, signal);
    return { kind: 'full', reason: room.reason, keepsLockMs: ADMISSION_TTL_MS };
  }
  // Both guards: the lock is still held, and a claim of this node that appeared meanwhile is not overwritten.
  const outcome = await writeClaim(kv, request, [mine, ownGuard], [lockKey], signal);
  releaseLeases(kv, [kept.lease]);
  return outcome;
}

/** A claim on a lease of its own. */
async function writeClaim(
  kv: Kv,
  { instanceId, claim, insteadOf }: SlotRequest,
  guards: readonly Guard[],
  deletes: readonly string[],
  signal: AbortSignal,
): Promise<TakeOutcome> {
  const { lease } = await kv.grant(ttlMsOf(claim), signal);
  const puts = [{ key: drainKey(instanceId), value: encodeClaim(claim), lease }];
  const { succeeded, revision } = await kv.txn({ guards, puts, deletes, reads: [] }, signal);
  if (!succeeded) releaseLeases(kv, [lease]);
  else if (insteadOf) releaseLeases(kv, [insteadOf.lease]);
  return succeeded ? { kind: 'taken', held: { instanceId, claim, lease, revision } } : { kind: 'busy' };
}

interface AdmissionLock {
  readonly lease: string;
  readonly revision: string;
}

/** null: another agent was faster. @param before the lock as it was read */
async function acquireLock(
  kv: Kv,
  before: { readonly key: string; readonly modRevision: string },
  state: AdmissionState,
  signal: AbortSignal,
): Promise<AdmissionLock | null> {
  const { lease } = await kv.grant(ADMISSION_TTL_MS, signal);
  const puts = [{ key: before.key, value: encodeAdmission(state), lease }];
  const { succeeded, revision } = await kv.txn({ guards: [before], puts, deletes: [], reads: [] }, signal);
  if (!succeeded) releaseLeases(kv, [lease]);
  return succeeded ? { lease, revision } : null;
}

/** null: its lease has ended. */
async function renewLock(kv: Kv, { lease, modRevision }: KeyValue, signal: AbortSignal): Promise<AdmissionLock | null> {
  return (await kv.keepAlive(lease, signal)) ? { lease, revision: modRevision } : null;
}

/** The admission lock's value: its holder's session and share, and why no slot is free (null: not known yet). */
interface AdmissionState {
  readonly by: string | null;
  readonly sharePercent: number | null;
  readonly full: string | null;
}

function encodeAdmission({ by, sharePercent, full }: AdmissionState): string {
  return JSON.stringify({ by, sharePercent, full });
}

/** An unreadable value counts as held by an unknown agent until its lease ends. */
function decodeAdmission(value: string): AdmissionState {
  const text = (part: unknown) => (typeof part === 'string' ? part : null);
  try {
    const { by, sharePercent, full } = Object(JSON.parse(value)) as Record<string, unknown>;
    return { by: text(by), sharePercent: typeof sharePercent === 'number' ? sharePercent : null, full: text(full) };
  } catch {
    return { by: null, sharePercent: null, full: null };
  }
}

/** The contract over any key-value store that has revisions and leases. */
export function createDrainSlots(kv: Kv): DrainSlots {
  return {
    read: async (instanceId, signal) => {
      const reads = [drainKey(instanceId)];
      const result = await kv.txn({ guards: [], puts: [], deletes: [], reads }, signal);
      return heldClaim(instanceId, result.reads[0] ?? null);
    },
    list: (signal) => readClaims(kv, signal),
    take: (request, signal) => takeSlot(kv, request, signal),
    replace: async (held, claim, signal) => {
      const key = drainKey(held.instanceId);
      const guards = [{ key, modRevision: held.revision }];
      const stays = ttlMsOf(claim) === ttlMsOf(held.claim);
      const lease = stays ? held.lease : (await kv.grant(ttlMsOf(claim), signal)).lease;
      const puts = [{ key, value: encodeClaim(claim), lease }];
      try {
        const { succeeded, revision } = await kv.txn({ guards, puts, deletes: [], reads: [] }, signal);
        if (!stays) releaseLeases(kv, [succeeded ? held.lease : lease]);
        return succeeded ? { ...held, claim, lease, revision } : null;
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
      return result.succeeded;
    },
  };
}
