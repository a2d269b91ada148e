import * as v from 'valibot';
import { DEPARTURE_CAUSES, HEALTH_STATUSES, type NodeRecord, type Presence, SCHEMA_VERSION } from './record.ts';

/** EC2 instance ids (`i-…`) and ECS Anywhere's (`mi-…`): https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html */
export const INSTANCE_ID = /^m?i-[0-9a-f]{8,32}$/;

const text = v.nullish(v.string(), null);
const status = v.picklist(HEALTH_STATUSES);

// Fields that an older or newer writer may lack become `null`; only what a reader cannot do without is required.
const recordSchema = v.object({
  schemaVersion: v.number(),
  ec2InstanceId: v.pipe(v.string(), v.regex(INSTANCE_ID)),
  containerInstanceArn: text,
  cluster: text,
  versionInfo: v.nullish(v.object({ agentVersion: text, agentHash: text }), { agentVersion: null, agentHash: null }),
  privateIpAddress: text,
  publicIpAddress: text,
  privateDnsName: text,
  availabilityZone: text,
  region: text,
  instanceType: text,
  imageId: text,
  accountId: text,
  instanceLifecycle: text,
  machineId: text,
  labels: v.nullish(v.record(v.string(), v.string()), {}),
  health: v.object({
    status,
    since: v.string(),
    checks: v.array(v.object({ name: v.string(), status, reason: v.string(), since: v.string() })),
  }),
  interruption: v.nullish(v.object({ kind: v.string(), action: text, time: text }), null),
  departure: v.nullish(v.object({ cause: v.picklist(DEPARTURE_CAUSES), at: v.string() }), null),
  registeredAt: v.string(),
  sidecar: v.object({ version: v.string(), session: v.string() }),
});

const FIELDS = Object.keys(recordSchema.entries);
const NESTED_FIELDS = [
  ...['agentVersion', 'agentHash'],
  ...['name', 'status', 'reason', 'since', 'checks'],
  ...['kind', 'action', 'time'],
  ...['cause', 'at'],
  ...['version', 'session'],
];

const presenceSchema = v.object({ session: v.string(), since: v.string(), ttlSeconds: v.number() });

export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

/**
 * The record as it is stored. Two equal records give equal text, however their objects were put together: fields in the
 * schema's order, labels sorted.
 */
export function encodeRecord(record: NodeRecord): string {
  // JSON.stringify writes the properties that such a list names, in the list's order, at every depth.
  return JSON.stringify(record, [...FIELDS, ...NESTED_FIELDS, ...Object.keys(record.labels).sort()]);
}

/** @param instanceId the id in the key, which the record must agree with @param json the stored value */
export function decodeRecord(instanceId: string, json: string): Decoded<NodeRecord> {
  const parsed = parseJson(json);
  if (!parsed.ok) return parsed;
  const version = (parsed.value as { schemaVersion?: unknown } | null)?.schemaVersion;
  if (typeof version === 'number' && version > SCHEMA_VERSION) {
    return { ok: false, reason: `schemaVersion ${version} is newer than ${SCHEMA_VERSION}; upgrade this reader` };
  }
  const decoded = check(recordSchema, parsed.value);
  if (decoded.ok && decoded.value.ec2InstanceId !== instanceId) {
    return { ok: false, reason: `the record is of ${decoded.value.ec2InstanceId}, the key of ${instanceId}` };
  }
  return decoded;
}

export function encodePresence(presence: Presence): string {
  return JSON.stringify(presence, ['session', 'since', 'ttlSeconds']);
}

export function decodePresence(json: string): Decoded<Presence> {
  const parsed = parseJson(json);
  return parsed.ok ? check(presenceSchema, parsed.value) : parsed;
}

function parseJson(json: string): Decoded<unknown> {
  try {
    return { ok: true, value: JSON.parse(json) };
  } catch {
    return { ok: false, reason: 'not JSON' };
  }
}

function check<S extends v.GenericSchema>(schema: S, value: unknown): Decoded<v.InferOutput<S>> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return { ok: true, value: result.output };
  const issue = result.issues[0];
  return { ok: false, reason: `${v.getDotPath(issue) ?? 'value'}: ${issue.message}` };
}
