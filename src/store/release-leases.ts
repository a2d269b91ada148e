import type { Kv } from './kv.ts';

/**
 * Starts to end leases that hold no keys any more, each within the store's own deadline. Nobody waits for it: a
 * registration that happened must not fail, or come late, because tidying hangs.
 */
export function releaseLeases(kv: Kv, leases: readonly string[]): void {
  const { signal } = new AbortController();
  for (const lease of new Set(leases)) {
    // A failure costs nothing but tidiness: an empty lease changes no key and ends by itself when its time is over.
    if (lease !== '0') kv.releaseEmpty(lease, signal).catch(() => {});
  }
}
