import type { RollEntry } from '../record/roll.ts';

/** Entries in the order of their private addresses, numerically; those without one last, then by instance id. */
export function sortByAddress(entries: readonly RollEntry[]): RollEntry[] {
  return entries
    .map((entry) => ({ entry, key: addressKey(entry.record.privateIpAddress) }))
    .sort((a, b) => a.key - b.key || (a.entry.record.ec2InstanceId < b.entry.record.ec2InstanceId ? -1 : 1))
    .map(({ entry }) => entry);
}

function addressKey(address: string | null): number {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(address ?? '');
  if (!match) return Number.MAX_SAFE_INTEGER;
  return match.slice(1).reduce((sum, part) => sum * 256 + Number(part), 0);
}
