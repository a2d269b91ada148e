import { HOST_NAME, wordChar, wordOf } from '../lib/foreign-text.ts';
import { type Decoded, decodePresence, decodeRecord, INSTANCE_ID, MAX_PARTS, MAX_VALUE_LENGTH } from './codec.ts';
import { HEALTH_STATUSES, type HealthStatus, type NodeRecord, type Presence, SCHEMA_VERSION } from './record.ts';

/**
 * What a list of nodes shows and selects by. Read straight from the text that agents write, since a list of 10,000 nodes
 * spends most of its time on fields that it does not print. Every record is one, too.
 */
export interface NodeSummary
  extends Pick<
    NodeRecord,
    | 'ec2InstanceId'
    | 'containerInstanceArn'
    | 'cluster'
    | 'privateIpAddress'
    | 'availabilityZone'
    | 'departure'
    | 'clockSkewSeconds'
  > {
  readonly health: { readonly status: HealthStatus };
}

/**
 * As `decodeRecord`, which it leaves the record to where its text is not as `encodeRecord` writes the record of a present
 * node, in ASCII and without escapes. So what it takes itself has no refused field.
 */
export function decodeSummary(instanceId: string, json: string): Decoded<NodeSummary> {
  const found = json.length > MAX_VALUE_LENGTH ? null : RECORD.exec(json);
  if (found === null || found[1] !== instanceId) return decodeRecord(instanceId, json);
  // One by one: taken apart as a list, they go through an iterator, a tenth of what reading a record takes.
  const value = {
    ec2InstanceId: instanceId,
    containerInstanceArn: found[2] ?? null,
    cluster: found[3] ?? null,
    privateIpAddress: found[4] ?? null,
    availabilityZone: found[5] ?? null,
    departure: null,
    clockSkewSeconds: found[7] === undefined ? null : Number(found[7]),
    health: { status: found[6] as HealthStatus },
  };
  return { ok: true, value };
}

/** As `decodePresence`. */
export function decodeWrittenPresence(json: string): Decoded<Presence> {
  const found = PRESENCE.exec(json);
  if (found === null) return decodePresence(json);
  return { ok: true, value: { session: found[1] ?? '', since: found[2] ?? '', ttlSeconds: Number(found[3]) } };
}

/** Without `"` and `\`, so that the text ends where it seems to. */
const CHARS = '[ !#-\\[\\]-~]';
const TEXT = `"${CHARS}*"`;
const TEXT_OR_NULL = `(?:null|${TEXT})`;
const WORD_CHAR = wordChar('"\\\\\\u0080-\\uffff');
const WORD = wordOf(WORD_CHAR);
const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const ADDRESS = `${OCTET}(?:\\.${OCTET}){3}`;
const STATUS = `(?:${HEALTH_STATUSES.join('|')})`;

/** Without `^` and `$`. */
const within = (whole: RegExp) => whole.source.slice(1, -1);
const orNull = (text: string) => `(?:null|"${text}")`;
const object = (fields: Readonly<Record<string, string>>) =>
  `\\{${Object.entries(fields)
    .map(([name, value]) => `"${name}":${value}`)
    .join(',')}\\}`;
const several = (element: string) => `(?:${element}(?:,${element}){0,${MAX_PARTS - 1}})?`;

const RECORD = new RegExp(
  `^${object({
    schemaVersion: String(SCHEMA_VERSION),
    ec2InstanceId: `"(${within(INSTANCE_ID)})"`,
    containerInstanceArn: orNull(`(${WORD})`),
    cluster: orNull(`(${WORD})`),
    versionInfo: object({ agentVersion: orNull(WORD), agentHash: orNull(WORD) }),
    privateIpAddress: orNull(`(${ADDRESS})`),
    publicIpAddress: orNull(ADDRESS),
    privateDnsName: orNull(within(HOST_NAME)),
    availabilityZone: orNull(`(${WORD})`),
    region: orNull(WORD),
    instanceType: orNull(WORD),
    imageId: orNull(WORD),
    accountId: orNull(WORD),
    instanceLifecycle: orNull(WORD),
    machineId: orNull(WORD),
    labels: `\\{${several(`"${WORD}":"${WORD_CHAR}*"`)}\\}`,
    health: object({
      status: `"(${STATUS})"`,
      since: TEXT,
      checks: `\\[${several(object({ name: TEXT, status: `"${STATUS}"`, reason: TEXT, since: TEXT }))}\\]`,
    }),
    interruption: `(?:null|${object({ kind: TEXT, action: TEXT_OR_NULL, time: TEXT_OR_NULL })})`,
    departure: 'null',
    clockSkewSeconds: '(?:null|(0|-?[1-9]\\d{0,8}))',
    registeredAt: TEXT,
    sidecar: object({ version: TEXT, session: TEXT }),
  })}$`,
);

const PRESENCE = new RegExp(
  `^${object({ session: `"(${CHARS}{0,200})"`, since: `"(${CHARS}{0,200})"`, ttlSeconds: '(0|[1-9]\\d{0,8})' })}$`,
);
