/**
 * How an agent's presence TTL paces the election. A leader that dies is replaced within one TTL of at least 4 s: half of
 * it for its lease to run out, at most a third for the next look of anybody, and the rest for the store, which ends
 * leases up to a second late. After a change of etcd's own leader, which starts every lease anew, half a TTL later.
 */
export function officeLeaseMs(presenceTtlMs: number): number {
  return Math.max(1_000, Math.floor(presenceTtlMs / 2_000) * 1_000);
}

/** Between two looks of an agent that does not lead: less up to a tenth, so that a fleet's looks spread. */
export function lookIntervalMs(presenceTtlMs: number, random: number): number {
  return (presenceTtlMs / 3) * (1 - random / 10);
}

/** Two renewals may fail before the third is too late. */
export function renewIntervalMs(leaseTtlMs: number, random: number): number {
  return (leaseTtlMs / 3) * (1 - random / 10);
}

/** Of a leader, in a row: its role, its network or its bundle may be what is wrong, and another agent's may be right. */
export const MAX_FAILED_RUNS = 3;

const RETRY_MS = 300_000;

/** From the end of one audit that failed to the next: whoever audits once a day does not wait a day for an answer that was late. */
export function retryAfterMs(intervalMs: number): number {
  return Math.min(intervalMs, RETRY_MS);
}

/** A result that is older is stale: two audits did not come, and a leader had its time to be replaced. */
export function staleAfterMs(intervalMs: number, presenceTtlMs: number): number {
  return 2 * intervalMs + presenceTtlMs;
}
