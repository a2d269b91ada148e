import type { RollEntry } from '../record/roll.ts';

/** Entries in the order of their private addresses, numerically; those without one last, then by instance id. */
export function sortByAddress(entries: readonly RollEntry[]): RollEntry[] {
  return entries
    .map((entry) => ({ entry, key: addressKey(entry.record.privateIpAddress) }))
    .sort((a, b) => a.key - b.key || (a.entry.record.ec2InstanceId < b.entry.record.ec2InstanceId ? -1 : 1))
    .map(({ entry }) => entry);
}

const IPV4 = /^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$/;

function addressKey(address: string | null): number {
  if (address === null || !IPV4.test(address)) return Number.MAX_SAFE_INTEGER;
  const [a, b, c, d] = address.split('.');
  return ((Number(a) * 256 + Number(b)) * 256 + Number(c)) * 256 + Number(d);
}
