import type { CheckState, Observation } from '../checks/observe-check.ts';

/** How one check was looked at since the start of the process. Instants are on the monotonic clock. */
export interface CheckLooks {
  readonly lookedAtMs: number;
  /** Of the last look; null where looking takes no time of its own. */
  readonly lastDurationMs: number | null;
  readonly looks: number;
  /** Looks that did not pass. */
  readonly failures: number;
}

/** A check as this process knows it: more than a record tells. */
export interface WatchedCheck {
  readonly check: CheckState;
  readonly looks: CheckLooks;
}

/** The bookkeeping after one more look, which ended at `nowMs`. @param before null before the first */
export function countLook(
  before: CheckLooks | null,
  seen: Observation,
  durationMs: number | null,
  nowMs: number,
): CheckLooks {
  return {
    lookedAtMs: nowMs,
    lastDurationMs: durationMs,
    looks: (before?.looks ?? 0) + 1,
    failures: (before?.failures ?? 0) + (seen.status === 'passing' ? 0 : 1),
  };
}
