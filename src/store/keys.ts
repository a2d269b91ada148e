import { INSTANCE_ID } from '../record/codec.ts';

/** All keys of version 1 of the layout start with this; a reader of version 1 reads no others. */
export const ROOT = 'v1/';

/** Records sort after presences. */
export const RECORDS = `${ROOT}records/`;

const PRESENCES = `${ROOT}presence/`;

/** Differences between the roll and ECS, one key for each: below `ROOT`, since each is an event of the roll. */
export const DIFFERENCES = `${ROOT}differences/`;

/**
 * Leader locks, their documents and drain claims: not part of the roll. Outside `ROOT`, so that readers of the roll are
 * not sent up to 1 MB of them, and earlier versions do not report them as foreign keys.
 */
const COORDINATION = 'coordination/v1/';

export function recordKey(instanceId: string): string {
  return `${RECORDS}${instanceId}`;
}

export function presenceKey(instanceId: string): string {
  return `${PRESENCES}${instanceId}`;
}

/** @param id without a slash, the same for one difference for as long as it lasts */
export function differenceKey(kind: string, id: string): string {
  return `${DIFFERENCES}${kind}/${id}`;
}

/** The two keys of a node's registration. */
export function keysOf(instanceId: string): readonly [presence: string, record: string] {
  return [presenceKey(instanceId), recordKey(instanceId)];
}

/** The key that the leader holds on its lease. @param lock its name, such as `audit` */
export function leaderLockKey(lock: string): string {
  return `${COORDINATION}${lock}/leader`;
}

/** A document that the leader publishes. @param name anything but `leader` */
export function documentKey(lock: string, name: string): string {
  return `${COORDINATION}${lock}/${name}`;
}

/** Drain claims, one key for each node. */
export const DRAINS = `${COORDINATION}drains/`;

export function drainKey(instanceId: string): string {
  return `${DRAINS}${instanceId}`;
}

/** The lock for counting and claiming drain slots, one for each cluster. @param scope region and account, as an ARN begins; null: unknown */
export function drainAdmissionKey(cluster: string, scope: string | null): string {
  return `${COORDINATION}drain-doors/${scope === null ? '' : `${scope}/`}${cluster}`;
}

/** Of random digits of an instance id; two of them make 256 parts of a fleet. */
const PART_DIGITS = 2;

/**
 * A part of the fleet that this node is in, for counting without reading all: EC2 draws the digits of an id at random,
 * but for the 0 that all long ones begin with.
 * @returns `prefix`: of the keys of its records; `share`: how many times larger the fleet is
 */
export function fleetPartOf(instanceId: string): { readonly prefix: string; readonly share: number } {
  const start = /^\w+-0?/.exec(instanceId)?.[0].length ?? 0;
  return { prefix: recordKey(instanceId.slice(0, start + PART_DIGITS)), share: 16 ** PART_DIGITS };
}

/** KIND/INSTANCE:CONTAINER-INSTANCE */
const DIFFERENCE_NAME = /^(?:ghost|stray|mismatch)\/[\w.:-]{1,200}$/;

type ParsedKey =
  | { readonly kind: 'record' | 'presence'; readonly instanceId: string }
  | { readonly kind: 'difference' }
  | { readonly kind: 'foreign'; readonly reason: string };

/** What a key below `ROOT` stands for. */
export function parseKey(key: string): ParsedKey {
  if (key.startsWith(DIFFERENCES)) {
    if (DIFFERENCE_NAME.test(key.slice(DIFFERENCES.length))) return { kind: 'difference' };
    return { kind: 'foreign', reason: 'not named after a difference' };
  }
  const kind = key.startsWith(RECORDS) ? 'record' : key.startsWith(PRESENCES) ? 'presence' : null;
  if (kind === null) return { kind: 'foreign', reason: 'neither a record nor a presence' };
  const instanceId = key.slice(kind === 'record' ? RECORDS.length : PRESENCES.length);
  if (!INSTANCE_ID.test(instanceId)) return { kind: 'foreign', reason: 'not named after an instance id' };
  return { kind, instanceId };
}
