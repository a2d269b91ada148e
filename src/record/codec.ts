import { isHostName, isWord, printable } from '../lib/foreign-text.ts';
import { isAddress } from './address.ts';
import { DEPARTURE_CAUSES, HEALTH_STATUSES, type NodeRecord, type Presence, SCHEMA_VERSION } from './record.ts';

/** An invalid field; the message names the field and what was expected. */
export class FieldError extends Error {
  override readonly name = 'FieldError';
}

type Json = Readonly<Record<string, unknown>>;

/**
 * Readers of one field of parsed JSON; `path` is its name in errors. Written by hand, and with the value instead of an
 * object and a name as parameter: a list of 10,000 nodes calls them 300,000 times.
 */
export const field = {
  object(value: unknown, path: string): Json {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(path, 'an object');
    return value as Json;
  },

  list(value: unknown, path: string): readonly unknown[] {
    if (!Array.isArray(value)) throw wrong(path, 'a list');
    return value;
  },

  text(value: unknown, path: string): string {
    if (typeof value !== 'string') throw wrong(path, 'a text');
    return value;
  },

  number(value: unknown, path: string): number {
    // JSON has numbers that become Infinity, such as 1e999: written again they are null.
    if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(path, 'a number');
    return value;
  },

  /** For a field that an older or newer writer may not have. */
  optionalText(value: unknown, path: string): string | null {
    if (value === undefined || value === null) return null;
    if (typeof value !== 'string') throw wrong(path, 'a text or null');
    return value;
  },

  oneOf<T extends string>(allowed: readonly T[], value: unknown, path: string): T {
    const known = allowed.indexOf(value as T);
    if (known === -1) throw wrong(path, `one of ${allowed.join(', ')}`);
    return value as T;
  },

  optional<T>(value: unknown, path: string, read: (object: Json) => T): T | null {
    return value === undefined || value === null ? null : read(field.object(value, path));
  },

  /** A map from text to text; empty: none. */
  texts(value: unknown, path: string): Readonly<Record<string, string>> {
    const map = field.object(value ?? {}, path);
    for (const key in map) if (typeof map[key] !== 'string') throw wrong(`${path}.${shortName(key)}`, 'a text');
    return map as Readonly<Record<string, string>>;
  },
};

function duration(value: unknown, path: string): number {
  const number = field.number(value, path);
  if (number < 0) throw wrong(path, 'a number from 0');
  return number;
}

function wrong(path: string, expected: string): FieldError {
  return new FieldError(`${path}: expected ${expected}`);
}

/** EC2 instance ids (`i-…`) and ECS Anywhere's (`mi-…`): https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html */
export const INSTANCE_ID = /^m?i-[0-9a-f]{8,32}$/;

/** For a record that has refused fields: their names. */
const REFUSED = new WeakMap<object, readonly string[]>();
const NONE: readonly string[] = [];

/**
 * Names of the fields whose text is not what the field holds, such as an address that is none. They are null in the
 * record (a label is left out): the rest of the record is still true, and a script must not get the text.
 */
/** @param record as `decodeRecord` made it */
export function refusedFields(record: object): readonly string[] {
  return REFUSED.get(record) ?? NONE;
}

/**
 * Reads a record from parsed JSON; its fields come in the order in which they are written. Fields that an older or newer
 * writer may not have become `null`; only the fields that every reader needs are required; unknown fields are left out.
 * @throws FieldError
 */
export function readRecord(value: unknown): NodeRecord {
  const from = field.object(value, 'value');
  const health = field.object(from['health'], 'health');
  const sidecar = field.object(from['sidecar'], 'sidecar');
  const versionInfo = field.object(from['versionInfo'] ?? {}, 'versionInfo');
  const ec2InstanceId = field.text(from['ec2InstanceId'], 'ec2InstanceId');
  if (!INSTANCE_ID.test(ec2InstanceId)) throw new FieldError('ec2InstanceId: expected an instance id');
  const refused: string[] = [];
  const record: NodeRecord = {
    schemaVersion: field.number(from['schemaVersion'], 'schemaVersion'),
    ec2InstanceId,
    containerInstanceArn: checked(from['containerInstanceArn'], 'containerInstanceArn', isWord, refused),
    cluster: checked(from['cluster'], 'cluster', isWord, refused),
    versionInfo: {
      agentVersion: checked(versionInfo['agentVersion'], 'versionInfo.agentVersion', isWord, refused),
      agentHash: checked(versionInfo['agentHash'], 'versionInfo.agentHash', isWord, refused),
    },
    privateIpAddress: checked(from['privateIpAddress'], 'privateIpAddress', isAddress, refused),
    publicIpAddress: checked(from['publicIpAddress'], 'publicIpAddress', isAddress, refused),
    privateDnsName: checked(from['privateDnsName'], 'privateDnsName', isHostName, refused),
    availabilityZone: checked(from['availabilityZone'], 'availabilityZone', isWord, refused),
    region: checked(from['region'], 'region', isWord, refused),
    instanceType: checked(from['instanceType'], 'instanceType', isWord, refused),
    imageId: checked(from['imageId'], 'imageId', isWord, refused),
    accountId: checked(from['accountId'], 'accountId', isWord, refused),
    instanceLifecycle: checked(from['instanceLifecycle'], 'instanceLifecycle', isWord, refused),
    machineId: checked(from['machineId'], 'machineId', isWord, refused),
    labels: readLabels(from['labels'], refused),
    health: {
      status: field.oneOf(HEALTH_STATUSES, health['status'], 'health.status'),
      since: freeText(health['since'], 'health.since'),
      checks: readChecks(health['checks'], refused),
    },
    interruption: field.optional(from['interruption'], 'interruption', (notice) => ({
      kind: freeText(notice['kind'], 'interruption.kind'),
      action: optionalFreeText(notice['action'], 'interruption.action'),
      time: optionalFreeText(notice['time'], 'interruption.time'),
    })),
    departure: field.optional(from['departure'], 'departure', (departure) => ({
      // A newer agent may know more causes: the node has left in order all the same.
      cause: DEPARTURE_CAUSES.find((cause) => cause === departure['cause']) ?? 'stopped',
      at: freeText(departure['at'], 'departure.at'),
    })),
    clockSkewSeconds: wholeNumber(from['clockSkewSeconds'], 'clockSkewSeconds', MAX_SKEW_SECONDS, refused),
    registeredAt: freeText(from['registeredAt'], 'registeredAt'),
    sidecar: {
      version: freeText(sidecar['version'], 'sidecar.version'),
      session: freeText(sidecar['session'], 'sidecar.session'),
    },
  };
  if (refused.length > 0) REFUSED.set(record, refused);
  return record;
}

/** Text of any length and form, such as the reason of a check; made safe to print. */
export function freeText(value: unknown, path: string): string {
  return printable(field.text(value, path).slice(0, MAX_FREE_TEXT));
}

/** The same for a field that may be missing or null. */
export function optionalFreeText(value: unknown, path: string): string | null {
  return value === undefined || value === null ? null : freeText(value, path);
}

/** @returns null, and the path in `refused`, for a text that the field cannot hold */
function checked(value: unknown, path: string, accepts: (text: string) => boolean, refused: string[]): string | null {
  const text = field.optionalText(value, path);
  if (text === null || accepts(text)) return text;
  refused.push(path);
  return null;
}

/** 100 years: no clock is that far off, but what is computed from a greater number may be no instant any more. */
const MAX_SKEW_SECONDS = 3_155_760_000;

/** As `checked`, for a whole number from `-max` to `max`. */
function wholeNumber(value: unknown, path: string, max: number, refused: string[]): number | null {
  if (value === undefined || value === null) return null;
  if (Number.isSafeInteger(value) && Math.abs(value as number) <= max) return value as number;
  refused.push(path);
  return null;
}

/** Characters. More than any agent writes: a reason has at most some hundred. */
const MAX_FREE_TEXT = 4_096;

/**
 * More labels, or checks, than any agent writes (32, and 16 with its own). Of a record of the greatest size that is full of
 * small ones, each in memory takes many times its text; up to here the length of the text is a fair estimate of the memory.
 */
export const MAX_PARTS = 64;

/** Without the labels that could not stand in a column, and those after the first `MAX_PARTS`. */
function readLabels(value: unknown, refused: string[]): NodeRecord['labels'] {
  const labels = field.texts(value, 'labels');
  const isBad = (key: string, n: number) => n >= MAX_PARTS || !isWord(key) || !isWord(`=${labels[key]}`);
  const bad = Object.keys(labels).filter(isBad);
  if (bad.length === 0) return labels;
  refused.push(...bad.slice(0, MAX_NAMED_LABELS).map((key) => `labels.${shortName(key)}`));
  return Object.fromEntries(Object.entries(labels).filter(([key], n) => !isBad(key, n)));
}

/** A record may have any number of labels, with names of any length. */
const MAX_NAMED_LABELS = 10;

/** A name from outside, for a message. */
function shortName(name: string): string {
  return printable(name.slice(0, 60));
}

function readChecks(value: unknown, refused: string[]): NodeRecord['health']['checks'] {
  const checks = field.list(value, 'health.checks');
  if (checks.length > MAX_PARTS) refused.push(`health.checks after ${MAX_PARTS}`);
  return checks.slice(0, MAX_PARTS).map(readCheck);
}

function readCheck(value: unknown): NodeRecord['health']['checks'][number] {
  const check = field.object(value, 'health.checks');
  return {
    name: freeText(check['name'], 'health.checks.name'),
    status: field.oneOf(HEALTH_STATUSES, check['status'], 'health.checks.status'),
    reason: freeText(check['reason'], 'health.checks.reason'),
    since: freeText(check['since'], 'health.checks.since'),
  };
}

export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

/** The record as it is stored. Equal records give equal text, in whatever order their fields were set. */
export function encodeRecord(record: NodeRecord): string {
  const ordered = readRecord(record);
  const labels = Object.fromEntries(Object.entries(ordered.labels).sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify({ ...ordered, labels });
}

/** Characters. A record has some 2,000; one of a million would hold up the process that parses it for a second. */
export const MAX_VALUE_LENGTH = 65_536;

/** As `decode`, for values that others write. */
export function decodeBounded<T>(json: string, read: (value: unknown) => T): Decoded<T> {
  if (json.length <= MAX_VALUE_LENGTH) return decode(json, read);
  return { ok: false, reason: `${json.length} characters: more than ${MAX_VALUE_LENGTH}` };
}

/** @param instanceId the id in the key, which must also be in the record @param json the stored value */
export function decodeRecord(instanceId: string, json: string): Decoded<NodeRecord> {
  return decodeBounded(json, (value) => {
    const version = (value as { schemaVersion?: unknown } | null)?.schemaVersion;
    if (typeof version === 'number' && version > SCHEMA_VERSION) {
      throw new FieldError(`schemaVersion ${version} is newer than ${SCHEMA_VERSION}; upgrade this reader`);
    }
    const record = readRecord(value);
    if (record.ec2InstanceId === instanceId) return record;
    throw new FieldError(`the record is for ${record.ec2InstanceId}, its key for ${instanceId}`);
  });
}

export function encodePresence({ session, since, ttlSeconds }: Presence): string {
  return JSON.stringify({ session, since, ttlSeconds });
}

export function decodePresence(json: string): Decoded<Presence> {
  return decodeBounded(json, (value) => {
    const from = field.object(value, 'value');
    return {
      session: freeText(from['session'], 'session'),
      since: freeText(from['since'], 'since'),
      ttlSeconds: duration(from['ttlSeconds'], 'ttlSeconds'),
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
