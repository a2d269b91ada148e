import type { networkInterfaces } from 'node:os';

export type Interfaces = ReturnType<typeof networkInterfaces>;

/**
 * The address by which others reach this host: the first of the interface with the default route; without such a route
 * the only one there is. Pure. @param defaultInterface null: no default route
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
    unclear: `${route}, and ${found.length === 0 ? 'no address' : found.join(', ')} on the host; give --private-ip`,
  };
}
