import { isIPv4 } from 'node:net';
import { describeError } from '../lib/errors.ts';
import { INSTANCE_ID } from '../record/codec.ts';
import type { MetadataFacts } from '../record/record.ts';
import type { ImdsClient } from './imds.ts';
import { attempt, parseObject, quote, SourceError } from './source-error.ts';

/** Where one fact is found in IMDS, and what it may look like. */
export interface MetadataField {
  /** Its key in the instance identity document; null where the document lacks it. */
  readonly documentKey: string | null;
  /** Its path under `/latest/`; null where there is none. */
  readonly leaf: string | null;
  /** For messages: `an instance id`. */
  readonly expected: string;
  readonly accepts: (text: string) => boolean;
}

const MAX_CHARS = 255;
const placement = /^[a-z]{2,}(-[a-z0-9]+)+$/;

/** Names: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html and instance-identity-documents.html */
export const METADATA_FIELDS: { readonly [Name in keyof MetadataFacts]: MetadataField } = {
  ec2InstanceId: field('instanceId', 'instance-id', 'an instance id', INSTANCE_ID),
  privateIpAddress: ipv4('privateIp', 'local-ipv4'),
  publicIpAddress: ipv4(null, 'public-ipv4'),
  privateDnsName: field(null, 'local-hostname', 'a host name', /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i),
  // Local zones have longer names: us-west-2-lax-1a, us-east-1-wl1-bos-wlz-1.
  availabilityZone: field('availabilityZone', 'placement/availability-zone', 'an availability zone', placement),
  region: field('region', 'placement/region', 'a region', placement),
  instanceType: field('instanceType', 'instance-type', 'an instance type', /^[a-z0-9-]+\.[a-z0-9-]+$/),
  imageId: field('imageId', 'ami-id', 'an image id', /^ami-[a-z0-9]+$/),
  accountId: { ...field('accountId', '', 'a 12-digit account id', /^\d{12}$/), leaf: null },
  // on-demand, spot, scheduled; newer instances have more of them, such as capacity-block.
  instanceLifecycle: field(null, 'instance-life-cycle', 'a life cycle', /^[a-z]+(-[a-z]+)*$/),
};

export const METADATA_NAMES = Object.keys(METADATA_FIELDS) as readonly (keyof MetadataFacts)[];

function field(documentKey: string | null, leaf: string, expected: string, shape: RegExp): MetadataField {
  const accepts = (text: string) => text.length <= MAX_CHARS && shape.test(text);
  return { documentKey, leaf: `meta-data/${leaf}`, expected, accepts };
}

function ipv4(documentKey: string | null, leaf: string): MetadataField {
  return { ...field(documentKey, leaf, 'an IPv4 address', /^/), accepts: isIPv4 };
}

const ACTION = 'IMDS instance identity document';

/**
 * The facts in an instance identity document. A key that is null is null, a key it lacks is absent, all others are
 * left alone: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html
 * @throws SourceError when it is no such document, or one value in it cannot be: then none of it is to be trusted
 */
export function parseIdentityDocument(text: string): Partial<MetadataFacts> {
  const document = parseObject(ACTION, text);
  const facts: [string, string | null][] = [];
  for (const name of METADATA_NAMES) {
    const { documentKey, expected, accepts } = METADATA_FIELDS[name];
    const value = documentKey === null ? undefined : document[documentKey];
    if (value === undefined && name !== 'ec2InstanceId') continue;
    const missing = value === null && name !== 'ec2InstanceId';
    if (!missing && !(typeof value === 'string' && accepts(value))) {
      throw new SourceError(
        `${ACTION}: ${documentKey}: expected ${expected}, got ${quote(JSON.stringify(value) ?? 'none')}`,
      );
    }
    facts.push([name, missing ? null : value]);
  }
  return Object.fromEntries(facts) as Partial<MetadataFacts>;
}

/**
 * The value of one IMDS leaf: a single line of the field's shape.
 * @throws SourceError for an HTML page, several lines, or anything else that is not the field's
 */
export function parseLeaf(field: MetadataField, text: string): string {
  const line = text.replace(/\r?\n$/, '');
  // A VPC whose DHCP options list several domains makes local-hostname "name.first.example second.example".
  const value = field.leaf === 'meta-data/local-hostname' ? (line.split(' ')[0] ?? '') : line;
  if (field.accepts(value)) return value;
  throw new SourceError(`IMDS ${field.leaf}: expected ${field.expected}, got ${quote(text)}`);
}

/** Short, so that one slow leaf cannot hold back the registration. */
const LEAF_TIMEOUT_MS = 500;

const DOCUMENT_PATH = 'dynamic/instance-identity/document';

/** One pass over IMDS. A fact that could not be read is absent, and why is among the failures. */
export interface MetadataRead {
  readonly facts: Partial<MetadataFacts>;
  /** One line each; empty when all was read. */
  readonly failures: readonly string[];
}

/**
 * Reads the identity document, then, in parallel and failing independently, the leaves of all facts it did not give.
 * Rejects only with the signal's reason.
 */
export async function readMetadata(imds: ImdsClient, signal: AbortSignal): Promise<MetadataRead> {
  const document = await attempt(() => readDocument(imds, signal));
  // Ten more reads of a service that is not there would add nothing but time and ten more lines.
  if ('error' in document && document.error.unreachable) return { facts: {}, failures: [document.error.message] };

  const known: Partial<MetadataFacts> = 'error' in document ? {} : document.value;
  const failures = 'error' in document ? [describeError(document.error)] : [];
  const leaves: Partial<Record<keyof MetadataFacts, string | null>> = {};
  await Promise.all(
    METADATA_NAMES.map(async (name) => {
      if (known[name] !== undefined || METADATA_FIELDS[name].leaf === null) return;
      const leaf = await attempt(() => readLeaf(imds, name, signal));
      if ('error' in leaf) failures.push(describeError(leaf.error));
      else leaves[name] = leaf.value;
    }),
  );
  return { facts: { ...known, ...leaves } as Partial<MetadataFacts>, failures };
}

async function readDocument(imds: ImdsClient, signal: AbortSignal): Promise<Partial<MetadataFacts>> {
  const text = await imds.get(DOCUMENT_PATH, signal);
  if (text === null) throw new SourceError(`IMDS ${DOCUMENT_PATH}: HTTP 404`);
  return parseIdentityDocument(text);
}

async function readLeaf(imds: ImdsClient, name: keyof MetadataFacts, signal: AbortSignal): Promise<string | null> {
  const field = METADATA_FIELDS[name];
  const text = await imds.get(field.leaf ?? '', signal, LEAF_TIMEOUT_MS);
  // Every instance has an id: here alone "no data" is a failure.
  if (text === null && name === 'ec2InstanceId') throw new SourceError(`IMDS ${field.leaf}: HTTP 404`);
  return text === null ? null : parseLeaf(field, text);
}

export interface MergedMetadata {
  /** null until the instance id was read once. */
  readonly facts: MetadataFacts | null;
  /** Why the read was left aside and the last good facts stay; null when it was taken. */
  readonly refused: string | null;
}

/**
 * The facts after one more read. A read that lost what makes a node (its id, a private address it had) or that is of
 * another node is refused whole; in one that is taken, what could not be read keeps its last value.
 * @param source what was read, for messages
 */
export function mergeMetadata(last: MetadataFacts | null, read: MetadataRead, source = 'EC2 metadata'): MergedMetadata {
  const { facts } = read;
  const refuse = (refused: string): MergedMetadata => ({ facts: last, refused });
  const { ec2InstanceId } = facts;
  if (!ec2InstanceId) return refuse(`no instance id in this read of ${source}`);
  if (last && last.ec2InstanceId !== ec2InstanceId) {
    return refuse(
      `${source} is of another instance, ${ec2InstanceId}, not ${last.ec2InstanceId}; restart rollcall if this node was replaced`,
    );
  }
  if (last?.privateIpAddress && !facts.privateIpAddress) {
    return refuse(`no private address in this read of ${source}; the last one was ${last.privateIpAddress}`);
  }
  const merged = METADATA_NAMES.map((name) => [name, facts[name] ?? keep(last, facts, name)]);
  return { facts: Object.fromEntries(merged) as MetadataFacts, refused: null };
}

/** Read as null: there is no such thing any more. Not read: what was known stays. */
function keep(last: MetadataFacts | null, facts: Partial<MetadataFacts>, name: keyof MetadataFacts): string | null {
  return facts[name] === null ? null : (last?.[name] ?? null);
}
