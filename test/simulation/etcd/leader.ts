import { QUIET, type Scheduler } from '../scheduler.ts';
import type { Data } from './data.ts';

/** etcd looks for leases that have ended twice a second. */
const LOOK_MS = 500;
/** A follower that hears nothing of its leader starts an election after one to two of these. */
export const ELECTION_MS = 1_000;

/** What only the leader knows: when each lease ends. A new leader starts them all again. */
export interface Lessor {
  /** @returns the TTL in seconds that starts again; 0: there is no such lease, or it has just ended */
  renew(lease: string): number;
  granted(lease: string): void;
  /** null: there is no such lease. */
  remainingMs(lease: string): number | null;
  /** A new leader: every lease has its whole TTL again, and the time of an election. */
  promote(): void;
  /** What this leader believes of the leases, as one that is paused goes on to believe. */
  beliefs(): ReadonlyMap<string, number>;
  /** Those that have ended by what was believed. */
  endedOf(beliefs: ReadonlyMap<string, number>): string[];
}

/** @param isLeading whether there is a leader that runs now @param revoke ends a lease, as a write of the cluster */
export function createLessor(
  scheduler: Scheduler,
  data: () => Data,
  isLeading: () => boolean,
  revoke: (lease: string) => void,
): Lessor {
  let ends = new Map<string, number>();
  /** No lease ends before. */
  let soonestMs = 0;

  const endedOf = (beliefs: ReadonlyMap<string, number>) =>
    [...beliefs].filter(([lease, endMs]) => endMs <= scheduler.nowMs() && data().leases().has(lease)).map(([id]) => id);

  const look = () => {
    scheduler.after(LOOK_MS, look);
    if (!isLeading() || scheduler.nowMs() < soonestMs) return QUIET;
    const ended = endedOf(ends);
    for (const [lease] of ends) if (!data().leases().has(lease)) ends.delete(lease);
    for (const lease of ended) revoke(lease);
    soonestMs = Math.min(...ends.values());
    return QUIET;
  };
  look();

  const ttlMs = (lease: string) => (data().leases().get(lease)?.ttlSeconds ?? 0) * 1_000;

  return {
    renew(lease) {
      const endMs = ends.get(lease);
      const held = data().leases().get(lease);
      if (endMs === undefined || held === undefined) return 0;
      if (endMs <= scheduler.nowMs()) {
        // It is as good as revoked: etcd answers when it is.
        revoke(lease);
        return 0;
      }
      ends.set(lease, scheduler.nowMs() + held.ttlSeconds * 1_000);
      return held.ttlSeconds;
    },
    granted(lease) {
      ends.set(lease, scheduler.nowMs() + ttlMs(lease));
      soonestMs = Math.min(soonestMs, scheduler.nowMs() + ttlMs(lease));
    },
    remainingMs(lease) {
      const endMs = ends.get(lease);
      if (endMs === undefined || !data().leases().has(lease) || endMs <= scheduler.nowMs()) return null;
      return endMs - scheduler.nowMs();
    },
    promote() {
      ends = new Map();
      soonestMs = 0;
      for (const lease of data().leases().keys()) ends.set(lease, scheduler.nowMs() + ELECTION_MS + ttlMs(lease));
    },
    beliefs: () => new Map(ends),
    endedOf,
  };
}
