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
  const keys = new Float64Array(entries.length);
  for (let place = 0; place < keys.length; place += 1) {
    keys[place] = addressNumber(entries[place]?.record.privateIpAddress ?? null) * MAX_ENTRIES + place;
  }
  keys.sort();
  const sorted: RollEntry<R>[] = [];
  for (let place = 0; place < keys.length; place += 1) {
    sorted.push(entries[(keys[place] ?? 0) % MAX_ENTRIES] as RollEntry<R>);
  }
  return sorted;
}

const IPV4 = /^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$/;

/** The address as a number; `NO_ADDRESS` without one, and for text that is not IPv4. */
function addressNumber(address: string | null): number {
  if (address === null || !IPV4.test(address)) return NO_ADDRESS;
  let [before, octet] = [0, 0];
  for (let at = 0; at < address.length; at += 1) {
    const code = address.charCodeAt(at);
    if (code === DOT) {
      before = before * 256 + octet;
      octet = 0;
    } else {
      octet = octet * 10 + code - ZERO;
    }
  }
  return before * 256 + octet;
}

const DOT = '.'.charCodeAt(0);
const ZERO = '0'.charCodeAt(0);
