import { printable } from '../lib/foreign-text.ts';
import { type CheckVerdict, HEALTH_STATUSES, type Health, type HealthStatus } from '../record/record.ts';

/** 0 for passing, 1 for warning, 2 for critical. */
function severity(status: HealthStatus): number {
  return HEALTH_STATUSES.indexOf(status);
}

/** The result of one run of a probe. */
export interface Observation {
  readonly status: HealthStatus;
  /** One line without a number that changes all the time: each new text is one write of the record. */
  readonly reason: string;
}

/** How many equal results in a row change a check to a better (`rise`) or a worse status (`fall`); both ≥ 1. */
export interface Damping {
  readonly rise: number;
  readonly fall: number;
}

export interface CheckState extends Observation {
  readonly name: string;
  /** Wall clock, ms since the epoch, at which `status` began. */
  readonly sinceMs: number;
  /** A change that was observed, but not often enough in a row to count yet. */
  readonly pending: (Observation & { readonly count: number }) | null;
  /**
   * False while there are only bad results since the start, too few to count: such a check has no verdict yet. Its status
   * is then that of the last record, or `passing` where that has none or no bad one.
   */
  readonly decided: boolean;
  /** The status has been this since the first verdict of the process, so that of the last record may have begun earlier. */
  readonly isFirst: boolean;
}

/** The checks that have a verdict, or a bad one in the last record. */
export function knownChecks(checks: readonly CheckState[]): readonly CheckState[] {
  return checks.filter(({ decided, status }) => decided || status !== 'passing');
}

/**
 * The next state of a check. A good first result counts at once; bad ones from the start on count after `fall` of them,
 * since the host may be busy booting. After that a change counts only after `rise` or `fall` equal results in a row, so
 * that one slow answer is not a false alarm. HAProxy's rise and fall work in the same way.
 */
export function observeCheck(
  name: string,
  state: CheckState | null,
  seen: Observation,
  damping: Damping,
  nowMs: number,
): CheckState {
  if (!state?.decided) {
    const count = 1 + (state?.pending?.count ?? 0);
    const decided = seen.status === 'passing' || count >= damping.fall;
    if (decided) return { name, ...seen, sinceMs: nowMs, pending: null, decided, isFirst: true };
    const before = state ?? { name, status: 'passing', reason: '', sinceMs: nowMs };
    return { ...before, pending: { ...seen, count }, decided, isFirst: true };
  }
  if (seen.status === state.status && seen.reason === state.reason) {
    return state.pending ? { ...state, pending: null } : state;
  }
  const pending = { ...seen, count: 1 + (sameChange(state, seen) ? (state.pending?.count ?? 0) : 0) };
  const needed = severity(seen.status) < severity(state.status) ? damping.rise : damping.fall;
  if (pending.count < needed) return { ...state, pending };
  // A new reason for the same status does not change when the status began.
  const since =
    seen.status === state.status
      ? { sinceMs: state.sinceMs, isFirst: state.isFirst }
      : { sinceMs: nowMs, isFirst: false };
  return { name, ...seen, ...since, pending: null, decided: true };
}

/**
 * A check completed by the node's last record. An agent that restarts on a critical node must not publish it as passing
 * until it has looked often enough; a bad result that the last record has, too, counts at once. A status that is still
 * the same began when the last record says, not when the agent restarted.
 * @param state null: not looked at yet @param last the check in the last record
 */
export function recallCheck<State extends CheckState | null>(state: State, last: CheckVerdict): State | CheckState {
  const sinceMs = Date.parse(last.since);
  if (Number.isNaN(sinceMs)) return state;
  if (state?.decided) {
    const isSame = state.isFirst && state.status === last.status && sinceMs < state.sinceMs;
    return isSame ? { ...state, sinceMs } : state;
  }
  if (last.status === 'passing') return state;
  const { name, status, reason } = last;
  const pending = state?.pending ?? null;
  if (pending?.status === status)
    return { name, status, reason: pending.reason, sinceMs, pending: null, decided: true, isFirst: true };
  return { name, status, reason, sinceMs, pending, decided: false, isFirst: true };
}

/** True if the pending change goes on. For a new status the reasons may differ; for a new reason alone they must be equal. */
function sameChange(state: CheckState, seen: Observation): boolean {
  if (!state.pending || state.pending.status !== seen.status) return false;
  return seen.status !== state.status || state.pending.reason === seen.reason;
}

/** A check's state in the form of records and reports. */
export function checkVerdict({ name, status, reason, sinceMs }: CheckState): CheckVerdict {
  return { name, status, reason, since: new Date(sinceMs).toISOString() };
}

const MAX_REASON_CHARACTERS = 200;

/**
 * The first non-empty line of a text, without control characters, and `suffix`: together at most 200 characters.
 */
export function reasonFrom(text: string, suffix = ''): string {
  const line = text
    .split(/[\r\n]+/)
    // Remove terminal colours; a tab becomes a space.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: an escape character starts each colour
    .map((each) => each.replaceAll(/\u001b\[[0-9;]*[A-Za-z]/g, '').replaceAll(/\s+/g, ' '))
    .map((each) => printable(each).trim())
    .find((each) => /[^?\s\ufffd]/.test(each));
  const characters = [...(line ?? '')];
  const limit = MAX_REASON_CHARACTERS - suffix.length;
  if (characters.length <= limit) return `${characters.join('')}${suffix}`;
  return `${characters.slice(0, limit - 1).join('')}…${suffix}`;
}

/** A node's health: the worst status of its checks, and since when it has been that. */
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

/** Counts of one check's runs since the start of the process. Instants are on the monotonic clock. */
export interface CheckRuns {
  readonly lastRunAtMs: number;
  /** Duration of the last run; null if the result comes from elsewhere and has no duration. */
  readonly lastDurationMs: number | null;
  readonly runs: number;
  /** Runs whose result was not `passing`. */
  readonly failures: number;
}

/** A check with its counts, which are not in the record. */
export interface WatchedCheck {
  readonly check: CheckState;
  readonly runs: CheckRuns;
}

/** The counts after one more run, which ended at `nowMs`. @param before null for the first run */
export function countRun(
  before: CheckRuns | null,
  seen: Observation,
  durationMs: number | null,
  nowMs: number,
): CheckRuns {
  return {
    lastRunAtMs: nowMs,
    lastDurationMs: durationMs,
    runs: (before?.runs ?? 0) + 1,
    failures: (before?.failures ?? 0) + (seen.status === 'passing' ? 0 : 1),
  };
}
