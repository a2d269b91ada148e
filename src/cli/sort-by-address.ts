import type { RollEntry } from '../record/roll.ts';
import type { NodeSummary } from '../record/summary.ts';

/** More entries than a store can hold. Multiplied by 2^32 addresses it is still an exact integer in a number. */
const MAX_ENTRIES = 2 ** 20;
/** Sorts after all addresses. */
const NO_ADDRESS = 2 ** 32;

/**
 * Sorts entries by private address, numerically; entries without one come last, equal ones keep their order. Address and
 * index are combined into one number, because numbers sort without a callback, which is slow in a process that lists
 * 10,000 nodes once.
 */
export function sortByAddress<R extends NodeSummary>(entries: readonly RollEntry<R>[]): RollEntry<R>[] {
  const addressNumber = createAddressNumber();
  const keys = Float64Array.from(
    entries,
    ({ record }, place) => addressNumber(record.privateIpAddress) * MAX_ENTRIES + place,
  );
  return Array.from(keys.sort(), (key) => entries[key % MAX_ENTRIES]).filter((entry) => entry !== undefined);
}

const IPV4 = /^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$/;

/**
 * The address as a number; `NO_ADDRESS` without one, and for text that is not IPv4. Many hosts share a /24, so the part
 * before the last dot is parsed once and kept.
 */
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
