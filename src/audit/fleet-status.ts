import { abortable } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { describeError } from '../lib/errors.ts';
import { FieldError, INSTANCE_ID } from '../record/codec.ts';
import { filterRoll, type RollFilter } from '../record/filter.ts';
import { describeClocks, describeSkipped, listNotes } from '../record/flaws.ts';
import { onEc2Clock } from '../record/node-clock.ts';
import type { Roll } from '../record/roll.ts';
import { rollStatus } from '../record/roll-status.ts';
import { type MassLossLimits, massLossNote } from '../registry/mass-loss.ts';
import { isGoneForGood } from '../store/drain-slots.ts';
import type { Store } from '../store/store.ts';
import { unreadableNodes } from '../store/unreadable-nodes.ts';
import { DIFFERENCE_KINDS, type DifferenceKind } from './audit-report.ts';
import type { FleetStatus, StatusAudit, StatusClaim } from './fleet-answer.ts';
import { decodeAuditSummary } from './fleet-audit/documents.ts';
import { LOCK } from './fleet-audit/fleet-audit-run.ts';

/** What the store says of the fleet beside the roll. */
export interface StoreStatus extends Pick<FleetStatus, 'store' | 'audit' | 'notes'> {
  /** All of the store. */
  readonly drains: readonly StatusClaim[] | null;
}

const READ_LIMIT_MS = 3_000;
/** More than of other nodes: a reader that shows which nodes drain needs them all. A claim is small. */
const MAX_STATUS_DRAINS = 5_000;

/** Never rejects but with the reason of `signal`: what cannot be read is null, and a note says why. */
export async function readStoreStatus(store: Store, clock: Clock, signal: AbortSignal): Promise<StoreStatus> {
  const notes: string[] = [];
  const part = async <T>(name: string, read: (within: AbortSignal) => Promise<T>): Promise<T | null> => {
    try {
      return await withDeadline(clock, READ_LIMIT_MS, signal, `read ${name}`, read);
    } catch (error) {
      signal.throwIfAborted();
      notes.push(`${name}: ${describeError(error)}`);
      return null;
    }
  };
  const [id, server, claims, audit] = await Promise.all([
    part('the id of the store', (within) => store.id(within)),
    part('the members of the store', (within) => store.server(within)),
    part('drains', (within) => store.drainSlots.list(within)),
    part('the audit', (within) => readAudit(store, within)),
  ]);
  const { version = null, members = null, leader = null } = server ?? {};
  // Other programs may write below the prefix.
  const ofNodes = claims?.filter(({ instanceId }) => INSTANCE_ID.test(instanceId));
  const drains = ofNodes?.map(({ instanceId, claim }) => ({
    ec2InstanceId: instanceId,
    cluster: claim?.cluster ?? null,
    phase: claim?.phase ?? null,
    reason: claim?.reason ?? '',
    since: claim?.since ?? null,
  }));
  return {
    store: { url: store.label, id, version, members, leader },
    drains: drains ?? null,
    audit,
    notes: notes.sort(),
  };
}

async function readAudit(store: Store, signal: AbortSignal): Promise<StatusAudit | null> {
  const { holder, documents } = await store.leaderLocks.read(LOCK, ['summary'], signal);
  const [text = null] = documents;
  if (text === null) return null;
  const decoded = decodeAuditSummary(text);
  if (!decoded.ok) throw new FieldError(decoded.reason);
  const { lastRun, result } = decoded.value;
  const none = Object.fromEntries(DIFFERENCE_KINDS.map((kind) => [kind, 0])) as Record<DifferenceKind, number>;
  return {
    leader: holder?.instanceId ?? null,
    finishedAt: result?.finishedAt ?? null,
    error: lastRun.error,
    agreeing: result?.agreeing ?? 0,
    undecided: result?.undecided ?? 0,
    differences: result?.differences ?? none,
  };
}

/** As `readStoreStatus`, once for all callers of the same time. */
export function sharedStoreStatus(store: Store, clock: Clock): (signal: AbortSignal) => Promise<StoreStatus> {
  let reading: Promise<StoreStatus> | null = null;
  return (signal) => {
    // Not the signal of the first caller, because others wait for the same answer; each part has its own deadline.
    reading ??= readStoreStatus(store, clock, new AbortController().signal).finally(() => {
      reading = null;
    });
    return abortable(reading, signal);
  };
}

/** The roll with its freshness, as a registry reads it. */
type StatusRoll = Pick<FleetStatus, 'ageMs' | 'stale' | 'uncertainty'> & {
  readonly roll: Roll;
  readonly massLoss: MassLossLimits | null;
};

/**
 * Joins the two; pure. A filter selects nodes and, with them, drains. The claim of a node that is forgotten, which outlives
 * its record, is none, and so is one of a node whose instance is terminated: neither takes a slot.
 */
export function fleetStatus(read: StatusRoll, store: StoreStatus, filter: RollFilter): FleetStatus {
  const { roll, ageMs, stale, uncertainty, massLoss } = read;
  const entries = filterRoll(roll.entries, filter);
  const chosen = new Map(entries.map((entry) => [entry.record.ec2InstanceId, entry]));
  const isWhole = entries.length === roll.entries.length;
  const unreadable = unreadableNodes(roll.skipped);
  const claims = store.drains?.filter(({ ec2InstanceId: id }) => {
    const entry = chosen.get(id);
    return entry ? !isGoneForGood(entry) : isWhole && unreadable(id) !== null;
  });
  const drains =
    claims?.slice(0, MAX_STATUS_DRAINS).map((claim) => {
      const record = chosen.get(claim.ec2InstanceId)?.record;
      const { privateIpAddress = null, availabilityZone = null } = record ?? {};
      // A drain by hand is by the clock of another host.
      const isByNode = record?.clockSkewSeconds && claim.since !== null && claim.phase !== 'manual';
      const since = isByNode ? (onEc2Clock(record, claim.since) ?? claim.since) : claim.since;
      return { ...claim, since, privateIpAddress, availabilityZone };
    }) ?? null;
  const draining = claims?.length ?? null;
  const notes = [
    ...store.notes,
    ...describeSkipped(roll.skipped),
    ...listNotes(roll.entries, filter),
    ...describeClocks(entries),
  ];
  // While it is uncertain, `uncertainty` says so; afterwards the nodes stay lost for as long as the store has their records.
  const asked = filterRoll(roll.entries, { ...filter, health: null, presence: null });
  const loss = uncertainty === null ? massLossNote(asked, massLoss, true) : null;
  if (loss !== null) notes.push(loss);
  return {
    revision: roll.revision,
    ageMs,
    stale,
    uncertainty,
    ...rollStatus(entries),
    ...store,
    drains,
    draining,
    notes,
  };
}
