import type { RollEntry } from '../record/roll.ts';

/** More entries than a store of ours can hold; times 2^32 addresses it is what a number holds exactly. */
const MAX_ENTRIES = 2 ** 20;
/** After all addresses. */
const NO_ADDRESS = 2 ** 32;

/**
 * Entries in the order of their private addresses, numerically; those without one last, equal ones as they were.
 * Address and place go into one number each, since numbers are sorted without calling back: a list of 10,000 nodes is
 * asked for once, and its code never gets warm.
 */
export function sortByAddress(entries: readonly RollEntry[]): RollEntry[] {
  const addressNumber = createAddressNumber();
  const keys = Float64Array.from(
    entries,
    ({ record }, place) => addressNumber(record.privateIpAddress) * MAX_ENTRIES + place,
  );
  return Array.from(keys.sort(), (key) => entries[key % MAX_ENTRIES]).filter((entry) => entry !== undefined);
}

const IPV4 = /^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$/;

/** Hosts share subnets: what stands before the last dot is looked at once. */
function createAddressNumber(): (address: string | null) => number {
  const subnets = new Map<string, number>();
  return (address) => {
    if (address === null || !IPV4.test(address)) return NO_ADDRESS;
    const lastAt = address.lastIndexOf('.') + 1;
    const subnet = address.slice(0, lastAt);
    let number = subnets.get(subnet);
    if (number === undefined) {
      number = subnet.split('.').reduce((total, octet) => total * 256 + Number(octet), 0);
      subnets.set(subnet, number);
    }
    return number + Number(address.slice(lastAt));
  };
}
