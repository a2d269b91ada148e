import { ADDRCONFIG, type LookupAddress, lookup as systemLookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';

/** A name may stand for all members of a cluster. More than that are taken in turn. */
const MAX_MEMBERS = 16;
/** Opening a store does not wait longer for its names. */
const RESOLVE_LIMIT_MS = 1_000;

/** All addresses of a name. @throws the system's error */
export type Resolve = (host: string) => Promise<readonly LookupAddress[]>;

export const systemResolve: Resolve = (host) =>
  new Promise((resolve, reject) => {
    // With ADDRCONFIG as in `net.connect`: no address of a family that this host has none of.
    systemLookup(host, { all: true, hints: ADDRCONFIG }, (error, addresses) =>
      error ? reject(error) : resolve(addresses),
    );
  });

/** One of the members that a name stands for: `index` of `count`. */
export interface NamedMember {
  readonly index: number;
  readonly count: number;
}

export const ALONE: NamedMember = { index: 0, count: 1 };

/**
 * The members that an endpoint's host stands for. Each is then an endpoint of its own: a connection to a name goes to the
 * first address that accepts it, and would go to a member that hangs for ever.
 * @returns one where the host is an address, or cannot be resolved (now)
 */
export async function membersOf(
  url: string,
  resolve: Resolve,
  clock: Clock,
  signal: AbortSignal,
): Promise<readonly NamedMember[]> {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0) return [ALONE];
  const action = `resolve ${host}`;
  const addresses = await withDeadline(clock, RESOLVE_LIMIT_MS, signal, action, () => resolve(host)).catch(() => {
    signal.throwIfAborted();
    return [];
  });
  const count = Math.min(Math.max(1, memberAddresses(addresses).length), MAX_MEMBERS);
  return Array.from({ length: count }, (_, index) => ({ index, count }));
}

/**
 * For `net.connect`: the addresses of one member of those that the name stands for now. Where there are more members than
 * at the start, each attempt to connect takes the next one.
 */
export function lookupMember({ index, count }: NamedMember, resolve: Resolve): LookupFunction {
  let attempts = 0;
  return (host, options, callback) => {
    const turn = index + count * attempts;
    attempts += 1;
    resolve(host).then(
      (addresses) => {
        const found = pick(addresses, turn, Number(options.family ?? 0));
        const [first] = found;
        if (options.all) callback(null, [...found]);
        else if (first) callback(null, first.address, first.family);
        else callback(notFound(host), '', 0);
      },
      (error: NodeJS.ErrnoException) => callback(error, '', 0),
    );
  };
}

/**
 * The addresses of each member. As many of each family are taken for pairs, one of each a member; else each is a member of
 * its own. Sorted, because a name server gives addresses in another order each time, and each once, as /etc/hosts may not.
 */
function memberAddresses(all: readonly LookupAddress[]): readonly (readonly LookupAddress[])[] {
  const unique = [...new Map(all.map((each) => [each.address, each])).values()];
  const sorted = unique.toSorted((a, b) => (a.address < b.address ? -1 : 1));
  // In the system's order of the families.
  const families = [...new Set(all.map(({ family }) => family))].map((kind) =>
    sorted.filter(({ family }) => family === kind),
  );
  const [first = [], second = first] = families;
  if (first.length !== second.length) return sorted.map((each) => [each]);
  return first.map((_, index) => families.flatMap((family) => family[index] ?? []));
}

function pick(addresses: readonly LookupAddress[], turn: number, wanted: number): readonly LookupAddress[] {
  const members = memberAddresses(addresses);
  const some = members[turn % Math.max(members.length, 1)] ?? [];
  return some.filter(({ family }) => wanted === 0 || family === wanted);
}

function notFound(host: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: 'ENOTFOUND' });
}
