import type { HealthStatus } from '../record/record.ts';
import { severity } from './severity.ts';

/** One look at something: what it would mean for the check if it lasted. */
export interface Observation {
  readonly status: HealthStatus;
  /** One line without anything that ticks: a new text is a new write of the record. */
  readonly reason: string;
}

/** How many equal looks in a row it takes to believe a change for the better (`rise`) or the worse (`fall`); both ≥ 1. */
export interface Damping {
  readonly rise: number;
  readonly fall: number;
}

export interface CheckState extends Observation {
  readonly name: string;
  /** Wall clock, ms since the epoch, at which `status` began. */
  readonly sinceMs: number;
  /** A change that has been seen, but not often enough to be believed. */
  readonly pending: (Observation & { readonly count: number }) | null;
}

/**
 * The next state of a check. The first look is believed at once: nothing is known that it could contradict. After
 * that a change counts only when it lasts, so that one slow answer is not a false alarm; HAProxy's rise and fall.
 */
export function observeCheck(
  name: string,
  state: CheckState | null,
  seen: Observation,
  damping: Damping,
  nowMs: number,
): CheckState {
  if (!state) return { name, ...seen, sinceMs: nowMs, pending: null };
  if (seen.status === state.status && seen.reason === state.reason) {
    return state.pending ? { ...state, pending: null } : state;
  }
  const pending = { ...seen, count: 1 + (sameChange(state, seen) ? (state.pending?.count ?? 0) : 0) };
  const needed = severity(seen.status) < severity(state.status) ? damping.rise : damping.fall;
  if (pending.count < needed) return { ...state, pending };
  // Another reason for the same status is news, but the trouble did not begin with it.
  const sinceMs = seen.status === state.status ? state.sinceMs : nowMs;
  return { name, ...seen, sinceMs, pending: null };
}

/** A change of status lasts whatever the reasons are; a mere change of reason lasts only while the reason is the same. */
function sameChange(state: CheckState, seen: Observation): boolean {
  if (!state.pending || state.pending.status !== seen.status) return false;
  return seen.status !== state.status || state.pending.reason === seen.reason;
}
