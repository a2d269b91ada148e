import { hostname, networkInterfaces } from 'node:os';
import { describeError, quote } from '../lib/errors.ts';
import { readSmallFile } from '../lib/read-small-file.ts';
import type { MetadataFacts } from '../record/record.ts';
import { METADATA_FIELDS, type MetadataRead, metadataRead, withoutFinalDot } from './metadata.ts';
import { attempt, parseObject, SourceError } from './source-error.ts';

export type Interfaces = ReturnType<typeof networkInterfaces>;

/**
 * The address at which others reach this host: the first one of the interface with the default route or, without that
 * route, the host's only address. Pure. @param defaultInterface null: no default route
 */
export function choosePrivateAddress(
  interfaces: Interfaces,
  defaultInterface: string | null,
): { readonly address: string } | { readonly unclear: string } {
  const all = Object.entries(interfaces).flatMap(([name, addresses = []]) =>
    addresses
      .filter(({ family, internal, address }) => family === 'IPv4' && !internal && !address.startsWith('169.254.'))
      .map(({ address }) => ({ name, address })),
  );
  const [chosen] = all.filter(({ name }) => name === defaultInterface);
  if (chosen) return { address: chosen.address };
  const [only] = all;
  if (only && all.length === 1) return { address: only.address };
  const found = all.map(({ name, address }) => `${name} ${address}`).slice(0, 4);
  const route = defaultInterface === null ? 'no default route' : `no IPv4 address on ${defaultInterface}`;
  return {
    unclear: `${route}, and ${found.length === 0 ? 'no address' : found.join(', ')} on the host; set --private-ip`,
  };
}

/** A host outside EC2, which ECS Anywhere calls an external instance. IMDS is not read. */
export interface ExternalIdentity {
  readonly kind: 'external';
  /** `mi-…`; null: read it from SSM's registration file. */
  readonly instanceId: string | null;
  readonly registrationFile: string;
  /** IPv4; null: choose one of the host's addresses. */
  readonly privateIpAddress: string | null;
}

const RTF_UP = 1;

/**
 * The interface of the IPv4 default route with the lowest metric, from the text of /proc/net/route; null: no such route.
 * Columns: https://www.kernel.org/doc/html/latest/filesystems/proc.html#networking-info-in-proc-net
 */
export function parseDefaultRoute(text: string): string | null {
  const routes = text.split('\n').flatMap((line) => {
    const [name = '', destination, , flags = '', , , metric = '', mask] = line.trim().split(/\s+/);
    const isDefault = destination === '00000000' && mask === '00000000' && (Number.parseInt(flags, 16) & RTF_UP) !== 0;
    return isDefault ? [{ name, metric: Number(metric) }] : [];
  });
  return routes.toSorted((a, b) => a.metric - b.metric)[0]?.name ?? null;
}

/** The id that SSM gives a host outside EC2: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_InstanceInformation.html */
export const MANAGED_INSTANCE_ID = /^mi-[0-9a-f]{17}$/;

interface SsmRegistration {
  /** `mi-…` */
  readonly instanceId: string;
  /** null: unknown. */
  readonly region: string | null;
  /** Why the region was refused; absent: it was not. */
  readonly refused?: string;
}

/**
 * Parses the file that `amazon-ssm-agent -register` writes: `{"ManagedInstanceID":"mi-0123456789abcdef0","Region":"us-east-1"}`.
 * @param path for messages @throws SourceError
 */
export function parseSsmRegistration(path: string, text: string): SsmRegistration {
  const action = `SSM registration ${path}`;
  const { ManagedInstanceID: id, Region: region = null } = parseObject(action, text);
  if (typeof id === 'string' && /^i-[0-9a-f]{8,32}$/.test(id)) {
    throw new SourceError(`${action}: it names EC2 instance ${id}; set --identity ec2`);
  }
  if (typeof id !== 'string' || !MANAGED_INSTANCE_ID.test(id)) {
    throw new SourceError(`${action}: ManagedInstanceID: expected mi-… and 17 hex digits, got ${shown(id)}`);
  }
  if (region !== null && !(typeof region === 'string' && METADATA_FIELDS.region.accepts(region))) {
    return { instanceId: id, region: null, refused: `${action}: Region: expected a region, got ${shown(region)}` };
  }
  return { instanceId: id, region };
}

function shown(value: unknown): string {
  return quote(JSON.stringify(value) ?? 'none');
}

/** What is read from the host. */
export interface ExternalHost {
  readonly registration: (path: string) => Promise<SsmRegistration>;
  readonly interfaces: () => Interfaces;
  readonly hostname: () => string;
  /** Text of /proc/net/route; rejects if it cannot be read. */
  readonly routes: () => Promise<string>;
}

/**
 * Reads the facts of a host outside EC2, in the form that `readMetadata` has for EC2. Facts that only EC2 has are null.
 * A failed read does not reject; it is in `failures`.
 */
export async function readExternal(identity: ExternalIdentity, host: ExternalHost): Promise<MetadataRead> {
  const { instanceId, registrationFile } = identity;
  const registration = await attempt<SsmRegistration>(async () =>
    instanceId === null ? host.registration(registrationFile) : { instanceId, region: null },
  );
  const failed = new Map<keyof MetadataFacts, string>();
  if ('error' in registration) return metadataRead({}, failed.set('ec2InstanceId', registration.error.message));
  const { refused } = registration.value;
  if (refused !== undefined) failed.set('region', refused);
  const address =
    identity.privateIpAddress === null
      ? choosePrivateAddress(host.interfaces(), await defaultInterface(host))
      : { address: identity.privateIpAddress };
  if ('unclear' in address) failed.set('privateIpAddress', `private address: ${address.unclear}`);
  const name = withoutFinalDot(host.hostname());
  const isName = METADATA_FIELDS.privateDnsName.accepts(name);
  if (!isName) failed.set('privateDnsName', `host name: expected a host name, got ${quote(name)}`);
  const facts: Partial<MetadataFacts> = {
    ec2InstanceId: registration.value.instanceId,
    ...('address' in address ? { privateIpAddress: address.address } : {}),
    publicIpAddress: null,
    privateDnsName: isName ? name : null,
    availabilityZone: null,
    region: registration.value.region,
    instanceType: null,
    imageId: null,
    accountId: null,
    instanceLifecycle: null,
  };
  return metadataRead(facts, failed);
}

async function defaultInterface(host: ExternalHost): Promise<string | null> {
  try {
    return parseDefaultRoute(await host.routes());
  } catch {
    return null; // choosePrivateAddress then takes the only address, or reports that there are several
  }
}

/** The file has about 70 bytes. */
const MAX_BYTES = 4_096;

/** @throws SourceError with the next step */
export async function readSsmRegistration(path: string): Promise<SsmRegistration> {
  let bytes: Buffer;
  try {
    bytes = await readSmallFile(path, MAX_BYTES + 1);
  } catch (error) {
    throw new SourceError(`read the SSM registration ${path}: ${causeAndFix(error)}`);
  }
  if (bytes.length > MAX_BYTES) {
    throw new SourceError(
      `SSM registration ${path}: over ${MAX_BYTES} bytes, so it is another file; check --ssm-registration-file`,
    );
  }
  return parseSsmRegistration(path, bytes.toString('utf8'));
}

function causeAndFix(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'no such file; register the host with SSM, mount the file, or set --identity mi-…';
  if (code === 'EACCES') return 'permission denied; run as root, or set --identity mi-…';
  // Docker creates a directory if the source of a mount is missing. SSM cannot write its file there then.
  if (code === 'EISDIR')
    return 'it is a directory, which docker creates if a mounted file is missing; remove it on the host, then register the host with SSM';
  return describeError(error);
}

/** One read returns one page, about 30 routes. The kernel sorts them, default routes first. */
const MAX_ROUTES_BYTES = 4_096;

/** The host that this process runs on. In a container the addresses are the host's only with `--net=host`. */
export const thisHost: ExternalHost = {
  registration: readSsmRegistration,
  interfaces: networkInterfaces,
  hostname,
  routes: async () => (await readSmallFile('/proc/net/route', MAX_ROUTES_BYTES)).toString('latin1'),
};

/** Where the agent reads the node's identity. */
export type IdentityConfig = { readonly kind: 'ec2' } | ExternalIdentity;
