import { isIP } from 'node:net';
import { quote } from '../../lib/errors.ts';
import { isAddress } from '../../record/address.ts';
import type { RollEntry } from '../../record/roll.ts';

/** What the names are made of. */
export interface DnsSettings {
  /** The domain of all names, without a dot at its end. */
  readonly zone: string;
  /** A node with the label KEY=VALUE gets the name VALUE.KEY. */
  readonly byLabel: readonly string[];
  /** SRV records `_NAME._tcp` for a port of each node. */
  readonly services: readonly { readonly name: string; readonly port: number }[];
  readonly ttlSeconds: number;
}

/** A node with its names, without the zone. */
interface NamedNode {
  readonly instanceId: string;
  readonly address: string;
  readonly byLabel: readonly string[];
}

export interface DnsNames {
  /** Sorted by instance id. */
  readonly nodes: readonly NamedNode[];
  /** One line for each name that cannot be one. */
  readonly leftOut: readonly string[];
}

const DNS_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** RFC 1035: 255 octets on the wire are 253 characters of text. */
const MAX_NAME = 253;
/** `_NAME._tcp.` before a name. */
const MAX_SERVICE_PREFIX = 22;

/** RFC 1123: letters, digits and inner dashes, up to 63. @param text in lower case */
export function isDnsLabel(text: string): boolean {
  return DNS_LABEL.test(text);
}

/**
 * The names of nodes; pure. Labels are other nodes' text, and DNS knows no case: a value becomes a name in lower case if
 * it is a DNS label then, else it is left out.
 */
export function dnsNames(entries: readonly RollEntry[], { zone, byLabel }: DnsSettings): DnsNames {
  const leftOut: string[] = [];
  const nodes = entries.flatMap(({ record }): NamedNode[] => {
    const { ec2InstanceId: instanceId, privateIpAddress: address, labels } = record;
    if (address === null || !isAddress(address)) {
      leftOut.push(`${instanceId}: it has no private address`);
      return [];
    }
    const names = byLabel.flatMap((key) => {
      const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
      if (value === undefined) return [];
      const name = `${value.toLowerCase()}.${key}`;
      const isShort = name.length + zone.length + MAX_SERVICE_PREFIX < MAX_NAME;
      if (isDnsLabel(value.toLowerCase()) && isShort) return [name];
      leftOut.push(`${instanceId}: label ${key}=${quote(value)} is not a DNS name of letters, digits and dashes`);
      return [];
    });
    return [{ instanceId, address, byLabel: names }];
  });
  nodes.sort((a, b) => (a.instanceId < b.instanceId ? -1 : 1));
  return { nodes, leftOut };
}

/** First line of a file that may be replaced. */
export const MADE_BY = 'Made by rollcall dns; changes are lost';

/** As /etc/hosts: a line for each node, its own name first. */
export function renderHosts({ nodes }: DnsNames, { zone }: DnsSettings): string {
  const lines = nodes.map(({ instanceId, address, byLabel }) =>
    [address, ...[instanceId, ...byLabel].map((name) => `${name}.${zone}`)].join(' '),
  );
  return [`# ${MADE_BY}`, ...lines, ''].join('\n');
}

/** A zone file (RFC 1035), with names relative to the zone. @param serial of its SOA record */
export function renderZone({ nodes }: DnsNames, settings: DnsSettings, serial: number): string {
  const { zone, ttlSeconds, services } = settings;
  const addresses = nodes.flatMap(({ instanceId, address, byLabel }) =>
    [instanceId, ...byLabel].map((name) => `${name} IN ${isIP(address) === 6 ? 'AAAA' : 'A'} ${address}`),
  );
  const ports = services.flatMap((service) =>
    nodes.flatMap(({ instanceId, byLabel }) =>
      ['', ...byLabel.map((name) => `.${name}`)].map(
        (below) => `_${service.name}._tcp${below} IN SRV 0 0 ${service.port} ${instanceId}`,
      ),
    ),
  );
  return [
    `; ${MADE_BY}`,
    `$ORIGIN ${zone}.`,
    `$TTL ${ttlSeconds}`,
    // Refresh, retry and expiry are for secondary servers; the last number is for names that do not exist.
    `@ IN SOA localhost. hostmaster.localhost. ${serial} ${ttlSeconds} ${ttlSeconds} 86400 ${ttlSeconds}`,
    '@ IN NS localhost.',
    ...addresses,
    ...ports,
    '',
  ].join('\n');
}

/** The nodes that a file of `renderHosts` or `renderZone` names, by their instance ids. */
export function instanceIdsOf(text: string): readonly string[] {
  return [...text.matchAll(/^(?:[0-9a-f.:]+ (m?i-[0-9a-f]+)\.|(m?i-[0-9a-f]+) IN )/gm)].map(
    ([, inHosts, inZone]) => inHosts ?? inZone ?? '',
  );
}

/** null: not a zone file of `renderZone`. */
export function serialOf(zoneFile: string): number | null {
  const text = /^@ IN SOA \S+ \S+ (\d{1,10}) /m.exec(zoneFile)?.[1];
  return text === undefined ? null : Number(text);
}

const SERIALS = 2 ** 32;

/**
 * A serial after `last`, as RFC 1982 compares them: the time, or one more than `last` where the clock is behind.
 * @param nowSeconds since the epoch
 */
export function nextSerial(last: number | null, nowSeconds: number): number {
  const now = nowSeconds % SERIALS;
  return last === null || now > last ? now : (last + 1) % SERIALS;
}
