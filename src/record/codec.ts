import { FieldError, field } from './field.ts';
import { readRecord } from './read-record.ts';
import { type NodeRecord, type Presence, SCHEMA_VERSION } from './record.ts';

export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

/** The record as it is stored. Two equal records give equal text, however their objects were put together. */
export function encodeRecord(record: NodeRecord): string {
  const ordered = readRecord(record);
  const labels = Object.fromEntries(Object.entries(ordered.labels).sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify({ ...ordered, labels });
}

/** @param instanceId the id in the key, which the record must agree with @param json the stored value */
export function decodeRecord(instanceId: string, json: string): Decoded<NodeRecord> {
  return decode(json, (value) => {
    const version = (value as { schemaVersion?: unknown } | null)?.schemaVersion;
    if (typeof version === 'number' && version > SCHEMA_VERSION) {
      throw new FieldError(`schemaVersion ${version} is newer than ${SCHEMA_VERSION}; upgrade this reader`);
    }
    const record = readRecord(value);
    if (record.ec2InstanceId === instanceId) return record;
    throw new FieldError(`the record is of ${record.ec2InstanceId}, the key of ${instanceId}`);
  });
}

export function encodePresence({ session, since, ttlSeconds }: Presence): string {
  return JSON.stringify({ session, since, ttlSeconds });
}

export function decodePresence(json: string): Decoded<Presence> {
  return decode(json, (value) => {
    const from = field.object(value, 'value');
    return {
      session: field.text(from['session'], 'session'),
      since: field.text(from['since'], 'since'),
      ttlSeconds: field.number(from['ttlSeconds'], 'ttlSeconds'),
    };
  });
}

/** @param read may throw a `FieldError` */
export function decode<T>(json: string, read: (value: unknown) => T): Decoded<T> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return { ok: false, reason: 'not JSON' };
  }
  try {
    return { ok: true, value: read(value) };
  } catch (error) {
    if (error instanceof FieldError) return { ok: false, reason: error.message };
    throw error;
  }
}
