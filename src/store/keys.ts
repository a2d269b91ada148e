import { INSTANCE_ID } from '../record/codec.ts';

/** Everything of this layout's version is below; a reader of version 1 never looks beside it. */
export const ROOT = 'v1/';

/** Where the records begin; presences come before. */
export const RECORDS = `${ROOT}records/`;

const PRESENCES = `${ROOT}presence/`;

/**
 * What agents agree on among themselves, and no part of the roll: beside `ROOT`, so that nobody who reads the roll is sent
 * up to 1 MB of it, nor, being of an earlier version, takes it for keys of somebody else.
 */
const COORDINATION = 'coordination/v1/';

export function recordKey(instanceId: string): string {
  return `${RECORDS}${instanceId}`;
}

export function presenceKey(instanceId: string): string {
  return `${PRESENCES}${instanceId}`;
}

/** The key that whoever is in charge of `office` holds with a lease; `audit` is one. */
export function leaderLockKey(lock: string): string {
  return `${COORDINATION}${lock}/leader`;
}

/** What the office's holders publish. @param name none but `leader` */
export function documentKey(lock: string, name: string): string {
  return `${COORDINATION}${lock}/${name}`;
}

/** Who drains, one key a node. */
export const DRAINS = `${COORDINATION}drains/`;

export function drainKey(instanceId: string): string {
  return `${DRAINS}${instanceId}`;
}

/** Whose turn it is to count and claim; one key a cluster. @param scope region and account, as an ARN begins; null: not known */
export function drainAdmissionKey(cluster: string, scope: string | null): string {
  return `${COORDINATION}drain-doors/${scope === null ? '' : `${scope}/`}${cluster}`;
}

type ParsedKey =
  | { readonly kind: 'record' | 'presence'; readonly instanceId: string }
  | { readonly kind: 'foreign'; readonly reason: string };

/** What a key below `ROOT` stands for. */
export function parseKey(key: string): ParsedKey {
  const kind = key.startsWith(RECORDS) ? 'record' : key.startsWith(PRESENCES) ? 'presence' : null;
  if (kind === null) return { kind: 'foreign', reason: 'neither a record nor a presence' };
  const instanceId = key.slice(kind === 'record' ? RECORDS.length : PRESENCES.length);
  if (!INSTANCE_ID.test(instanceId)) return { kind: 'foreign', reason: 'not named after an instance id' };
  return { kind, instanceId };
}
