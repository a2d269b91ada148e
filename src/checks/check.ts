import { printable } from '../lib/errors.ts';
import { type CheckVerdict, HEALTH_STATUSES, type Health, type HealthStatus } from '../record/record.ts';

/** 0 for passing, higher for worse. */
export function severity(status: HealthStatus): number {
  return HEALTH_STATUSES.indexOf(status);
}

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

/** A check's state as records and reports tell it. */
export function checkVerdict({ name, status, reason, sinceMs }: CheckState): CheckVerdict {
  return { name, status, reason, since: new Date(sinceMs).toISOString() };
}

const MAX_REASON_CHARACTERS = 200;

/** The first line of a text that says something, fit for a record and a terminal. */
export function reasonFrom(text: string): string {
  const line = text
    .split(/[\r\n]+/)
    // Tabs and colours of a terminal are no text.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character begins a colour
    .map((each) => each.replaceAll(/\u001b\[[0-9;]*[A-Za-z]/g, '').replaceAll(/\s+/g, ' '))
    .map((each) => printable(each).trim())
    .find((each) => /[^?\s\ufffd]/.test(each));
  const characters = [...(line ?? '')];
  if (characters.length <= MAX_REASON_CHARACTERS) return characters.join('');
  return `${characters.slice(0, MAX_REASON_CHARACTERS - 1).join('')}…`;
}

/** A node's health from its checks: the worst of them, since the moment the whole became that. */
export function summarizeHealth(previous: Health | null, checks: readonly CheckState[], nowMs: number): Health {
  const status = checks.reduce<HealthStatus>(
    (worst, check) => (severity(check.status) > severity(worst) ? check.status : worst),
    'passing',
  );
  return {
    status,
    since: previous?.status === status ? previous.since : new Date(nowMs).toISOString(),
    checks: checks.map(checkVerdict),
  };
}

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
