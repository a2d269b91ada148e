import { isIPv4, isIPv6 } from 'node:net';
import { describeError, quote } from '../lib/errors.ts';
import { isAddress } from '../record/address.ts';
import { INSTANCE_ID } from '../record/codec.ts';
import { DECIDING_METADATA } from '../record/health-facts.ts';
import type { MetadataFacts } from '../record/record.ts';
import type { ImdsClient } from './imds.ts';
import { attempt, parseObject, SourceError } from './source-error.ts';

/** Where IMDS has one fact, and which values are valid. */
interface MetadataField {
  /** Key in the instance identity document; null if the document does not have this fact. */
  readonly documentKey: string | null;
  /** Path under `/latest/`; null if there is none. */
  readonly leaf: string | null;
  /** The valid values, for messages: `an instance id`. */
  readonly expected: string;
  readonly accepts: (text: string) => boolean;
}

/** Of a host name, and more than any other fact has. */
const MAX_CHARS = 253;
const placement = /^[a-z]{2,}(-[a-z0-9]+)+$/;

/** Names: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html and instance-identity-documents.html */
export const METADATA_FIELDS: { readonly [Name in keyof MetadataFacts]: MetadataField } = {
  ec2InstanceId: field('instanceId', 'instance-id', 'an instance id', INSTANCE_ID),
  privateIpAddress: ipv4Field('privateIp', 'local-ipv4'),
  publicIpAddress: ipv4Field(null, 'public-ipv4'),
  privateDnsName: field(null, 'local-hostname', 'a host name', /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/i),
  // Local Zones have longer names: us-west-2-lax-1a, us-east-1-wl1-bos-wlz-1.
  availabilityZone: field('availabilityZone', 'placement/availability-zone', 'an availability zone', placement),
  region: field('region', 'placement/region', 'a region', placement),
  instanceType: field('instanceType', 'instance-type', 'an instance type', /^[a-z0-9-]+\.[a-z0-9-]+$/),
  imageId: field('imageId', 'ami-id', 'an image id', /^ami-[a-z0-9]+$/),
  accountId: { ...field('accountId', '', 'a 12-digit account id', /^\d{12}$/), leaf: null },
  // on-demand, spot, scheduled; newer instances have more values, such as capacity-block.
  instanceLifecycle: field(null, 'instance-life-cycle', 'a life cycle', /^[a-z]+(-[a-z]+)*$/),
};

export const METADATA_NAMES = Object.keys(METADATA_FIELDS) as readonly (keyof MetadataFacts)[];

function field(documentKey: string | null, leaf: string, expected: string, shape: RegExp): MetadataField {
  const accepts = (text: string) => text.length <= MAX_CHARS && shape.test(text);
  return { documentKey, leaf: `meta-data/${leaf}`, expected, accepts };
}

function ipv4Field(documentKey: string | null, leaf: string): MetadataField {
  return { ...field(documentKey, leaf, 'an IPv4 address', /^/), accepts: isIPv4 };
}

const ACTION = 'IMDS instance identity document';

/** Facts that were read, and for each that was refused one line that says why. */
interface ParsedFacts {
  readonly facts: Partial<MetadataFacts>;
  readonly refused: Failures;
}

type Failures = ReadonlyMap<keyof MetadataFacts, string>;

/**
 * The facts in an instance identity document. A null value stays null; a missing key is absent from the result, and so is
 * an invalid value; other keys are ignored: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html
 * @throws SourceError for any other text, or for an invalid instance id: then no value is trusted
 */
export function parseIdentityDocument(text: string): ParsedFacts {
  const document = parseObject(ACTION, text);
  const facts: [string, string | null][] = [];
  const refused = new Map<keyof MetadataFacts, string>();
  for (const name of METADATA_NAMES) {
    const { documentKey, expected, accepts } = METADATA_FIELDS[name];
    const value = documentKey === null ? undefined : document[documentKey];
    const isId = name === 'ec2InstanceId';
    if (typeof value === 'string' && accepts(value)) facts.push([name, value]);
    else if (value === null && !isId) facts.push([name, null]);
    else if (value !== undefined || isId) {
      const got = quote(JSON.stringify(value) ?? 'none');
      const problem = `${ACTION}: ${documentKey}: expected ${expected}, got ${got}`;
      if (isId) throw new SourceError(problem);
      refused.set(name, problem);
    }
  }
  return { facts: Object.fromEntries(facts) as Partial<MetadataFacts>, refused };
}

/**
 * The value of one IMDS leaf: a single line that the field accepts.
 * @throws SourceError for any other text, such as an HTML page or several lines
 */
export function parseLeaf(field: MetadataField, text: string): string {
  const line = text.replace(/\r?\n$/, '');
  // A VPC whose DHCP options list several domains makes local-hostname "name.first.example second.example"; one whose
  // domain name ends in a dot makes it "name.example.".
  const isName = field === METADATA_FIELDS.privateDnsName;
  const value = isName ? withoutFinalDot(line.split(' ')[0] ?? '') : line;
  if (field.accepts(value)) return value;
  throw new SourceError(`IMDS ${field.leaf}: expected ${field.expected}, got ${quote(text)}`);
}

/** Names in DNS may end in a dot. */
export function withoutFinalDot(name: string): string {
  return name.replace(/\.$/, '');
}

/** Where an instance in a subnet for IPv6 alone has its address. It has no `local-ipv4`. */
const IPV6_ADDRESS: MetadataField = {
  ...{ documentKey: null, leaf: 'meta-data/ipv6', expected: 'an IPv6 address' },
  accepts: (text) => isIPv6(text) && isAddress(text),
};

/** Short, so that one slow leaf does not delay the registration. */
const LEAF_TIMEOUT_MS = 500;

const DOCUMENT_PATH = 'dynamic/instance-identity/document';

/** One read of all facts. A fact that could not be read is absent; one whose text is no value of its kind is null. */
export interface MetadataRead {
  readonly facts: Partial<MetadataFacts>;
  /** Why facts that decide the node's health could not be read: one line each. */
  readonly failures: readonly string[];
  /** The same for decorative facts. */
  readonly notes: readonly string[];
}

/** Sorts what failed into what decides the node's health and what does not. */
export function metadataRead(facts: Partial<MetadataFacts>, failed: Failures): MetadataRead {
  const lines = [...failed].map(([name, line]) => ({ line, decides: DECIDING_METADATA[name] !== undefined }));
  const failures = lines.filter(({ decides }) => decides).map(({ line }) => line);
  const notes = lines.filter(({ decides }) => !decides).map(({ line }) => line);
  return { facts, failures: [...new Set(failures)].sort(), notes: [...new Set(notes)].sort() };
}

/**
 * Reads the identity document, then, in parallel and independently, one leaf for each fact the document did not have.
 * Rejects only with the signal's reason.
 */
export async function readMetadata(imds: ImdsClient, signal: AbortSignal): Promise<MetadataRead> {
  const document = await attempt(() => readDocument(imds, signal));
  // If the service is unavailable, ten more reads would only add ten more failures.
  if ('error' in document && document.error.unreachable) {
    return metadataRead({}, new Map([['ec2InstanceId', document.error.message]]));
  }
  const failed = new Map('error' in document ? [] : document.value.refused);
  // The one fact that nothing but the document has.
  if ('error' in document) failed.set('accountId', describeError(document.error));
  const fromDocument = 'error' in document ? {} : document.value.facts;
  const leaves: Partial<Record<keyof MetadataFacts, string | null>> = {};
  await Promise.all(
    METADATA_NAMES.map(async (name) => {
      const hasOther = name === 'privateIpAddress' && fromDocument[name] === null;
      if ((fromDocument[name] !== undefined && !hasOther) || METADATA_FIELDS[name].leaf === null) return;
      const leaf = await attempt(() => readLeaf(imds, name, signal));
      if ('error' in leaf) {
        failed.set(name, describeError(leaf.error));
      } else {
        leaves[name] = leaf.value.fact;
        if (leaf.value.refused === null) failed.delete(name);
        else failed.set(name, leaf.value.refused);
      }
    }),
  );
  return metadataRead({ ...fromDocument, ...leaves } as Partial<MetadataFacts>, failed);
}

async function readDocument(imds: ImdsClient, signal: AbortSignal): Promise<ParsedFacts> {
  const text = await imds.get(DOCUMENT_PATH, signal);
  // Some emulators have none: no data, not a failure.
  return text === null ? { facts: {}, refused: new Map() } : parseIdentityDocument(text);
}

interface Leaf {
  readonly fact: string | null;
  /** Why the text is no value of its kind; null: it is one, or there is none. */
  readonly refused: string | null;
}

async function readLeaf(imds: ImdsClient, name: keyof MetadataFacts, signal: AbortSignal): Promise<Leaf> {
  let field = METADATA_FIELDS[name];
  let text = await imds.get(field.leaf ?? '', signal, LEAF_TIMEOUT_MS);
  if (text === null && name === 'privateIpAddress') {
    field = IPV6_ADDRESS;
    text = await imds.get(field.leaf ?? '', signal, LEAF_TIMEOUT_MS);
  }
  const decides = DECIDING_METADATA[name] !== undefined;
  // Every instance has an id, so for this leaf alone a 404 is a failure.
  if (text === null && name === 'ec2InstanceId') throw new SourceError(`IMDS ${field.leaf}: HTTP 404`);
  // Some emulators send an empty value where EC2 has a 404.
  if (text === null || (text === '' && !decides)) return { fact: null, refused: null };
  try {
    return { fact: parseLeaf(field, text), refused: null };
  } catch (error) {
    if (decides || !(error instanceof SourceError)) throw error;
    return { fact: null, refused: error.message };
  }
}

/** The facts as far as they could be read: one that never was is absent. */
export type KnownMetadata = Partial<MetadataFacts> & Pick<MetadataFacts, 'ec2InstanceId'>;

interface MergedMetadata {
  /** null until the instance id was read once. */
  readonly facts: KnownMetadata | null;
  /** Why the read was refused and the last facts kept; null if it was accepted. */
  readonly refused: string | null;
}

/**
 * Merges a new read into the last facts. A read without the instance id, without a private address that was known, or
 * of another instance is refused as a whole. In an accepted read, a fact that could not be read keeps its last value.
 * @param source the source's name, for messages
 */
export function mergeMetadata(
  last: KnownMetadata | null,
  { facts }: Pick<MetadataRead, 'facts'>,
  source = 'EC2 metadata',
): MergedMetadata {
  const refuse = (refused: string): MergedMetadata => ({ facts: last, refused });
  const { ec2InstanceId } = facts;
  if (!ec2InstanceId) return refuse(`${source} has no instance id`);
  if (last && last.ec2InstanceId !== ec2InstanceId) {
    return refuse(
      `${source} names another instance: ${ec2InstanceId}, was ${last.ec2InstanceId}; restart rollcall if this node was replaced`,
    );
  }
  if (last?.privateIpAddress && !facts.privateIpAddress) {
    return refuse(`${source} has no private address; the last one was ${last.privateIpAddress}`);
  }
  // null: the instance no longer has this value. Absent: the value could not be read, and the last one stays.
  return { facts: { ...last, ...facts, ec2InstanceId }, refused: null };
}
