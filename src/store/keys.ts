import { INSTANCE_ID } from '../record/read-record.ts';

/** Everything of this layout's version is below; a reader of version 1 never looks beside it. */
export const ROOT = 'v1/';

/** Where the records begin; presences come before. */
export const RECORDS = `${ROOT}records/`;

export function recordKey(instanceId: string): string {
  return `${RECORDS}${instanceId}`;
}

export function presenceKey(instanceId: string): string {
  return `${ROOT}presence/${instanceId}`;
}

type ParsedKey =
  | { readonly kind: 'record' | 'presence'; readonly instanceId: string }
  | { readonly kind: 'foreign'; readonly reason: string };

/** What a key below `ROOT` stands for. */
export function parseKey(key: string): ParsedKey {
  const [, folder, instanceId] = /^v1\/(records|presence)\/(.*)$/s.exec(key) ?? [];
  if (folder === undefined || instanceId === undefined) {
    return { kind: 'foreign', reason: 'neither a record nor a presence' };
  }
  if (!INSTANCE_ID.test(instanceId)) return { kind: 'foreign', reason: 'not named after an instance id' };
  return { kind: folder === 'records' ? 'record' : 'presence', instanceId };
}
