import type { Kv } from './kv.ts';

/** Ends leases that hold no keys any more. Never rejects. */
export async function releaseLeases(kv: Kv, leases: readonly string[], signal: AbortSignal): Promise<void> {
  const own = new Set(leases.filter((lease) => lease !== '0'));
  // A failure costs nothing but tidiness: an empty lease changes no key and ends by itself when its time is over.
  await Promise.allSettled([...own].map((lease) => kv.releaseEmpty(lease, signal)));
}
