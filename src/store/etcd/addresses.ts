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
  // A member with an address of each family counts once.
  const most = Math.max(1, ...families(addresses).map(({ length }) => length));
  const count = Math.min(most, MAX_MEMBERS);
  return Array.from({ length: count }, (_, index) => ({ index, count }));
}

/**
 * For `net.connect`: the addresses of one member of those that the name stands for now, one of each family. Where there
 * are more addresses than members, each attempt to connect takes the next one.
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

/** In the system's order of the families; each is sorted, because a name server gives addresses in another order each time. */
function families(addresses: readonly LookupAddress[]): readonly (readonly LookupAddress[])[] {
  const kinds = [...new Set(addresses.map(({ family }) => family))];
  return kinds.map((kind) =>
    addresses.filter(({ family }) => family === kind).sort((a, b) => (a.address < b.address ? -1 : 1)),
  );
}

function pick(addresses: readonly LookupAddress[], turn: number, wanted: number): readonly LookupAddress[] {
  const some = families(addresses).flatMap((family) => family[turn % family.length] ?? []);
  return some.filter(({ family }) => wanted === 0 || family === wanted);
}

function notFound(host: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: 'ENOTFOUND' });
}
