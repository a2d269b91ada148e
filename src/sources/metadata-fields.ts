import { isIPv4 } from 'node:net';
import type { MetadataFacts } from '../record/facts.ts';
import { INSTANCE_ID } from '../record/read-record.ts';

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
