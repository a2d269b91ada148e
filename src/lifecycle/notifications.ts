/** systemd takes a notification of up to so many bytes from a relay; a longer one is lost, not cut. */
export const MAX_NOTIFICATION_BYTES = 1_024;

/** A status that flickers must not start a program on the host every second. */
const STATUS_PAUSE_MS = 2_000;

/** What the service manager has been told so far. Instants are on the monotonic clock. */
export interface NotifyState {
  readonly ready: boolean;
  readonly stopping: boolean;
  readonly status: string;
  readonly statusAtMs: number;
  readonly watchdogAtMs: number;
}

export const INITIAL_NOTIFY_STATE: NotifyState = {
  ready: false,
  stopping: false,
  status: '',
  statusAtMs: Number.NEGATIVE_INFINITY,
  watchdogAtMs: Number.NEGATIVE_INFINITY,
};

export interface NotifyInput {
  readonly status: string;
  /** All of our loops made a step within their limits. */
  readonly progressing: boolean;
  readonly leaving: boolean;
  /** null where nobody watches. */
  readonly watchdogMs: number | null;
}

/**
 * The assignments of systemd's protocol (sd_notify(3)) that are due at `nowMs`, and the state once they are sent; pure.
 * The caller serves already: READY is due at the first call. There is no MAINPID: a pid of a container means another
 * process, or none, on the host.
 */
export function dueNotifications(
  state: NotifyState,
  nowMs: number,
  input: NotifyInput,
): { readonly assignments: readonly string[]; readonly state: NotifyState } {
  const assignments: string[] = [];
  let next = state;
  const status = fit(input.leaving ? 'leaving the roll' : input.status);
  if (input.leaving && !state.stopping) {
    assignments.push('STOPPING=1');
    next = { ...next, stopping: true };
  } else if (!input.leaving && !state.ready) {
    assignments.push('READY=1');
    next = { ...next, ready: true };
  }
  // What comes with READY or STOPPING is news in any case.
  const pauseOver = nowMs >= state.statusAtMs + STATUS_PAUSE_MS || assignments.length > 0;
  if (status !== state.status && pauseOver) {
    assignments.push(`STATUS=${status}`);
    next = { ...next, status, statusAtMs: nowMs };
  }
  // Three times within the limit: one may be late and one lost.
  if (input.watchdogMs !== null && input.progressing && nowMs >= state.watchdogAtMs + input.watchdogMs / 3) {
    assignments.push('WATCHDOG=1');
    next = { ...next, watchdogAtMs: nowMs };
  }
  return { assignments, state: next };
}

/** One line that, with its name, fits into one notification. */
function fit(text: string): string {
  const line = text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim();
  const limitBytes = MAX_NOTIFICATION_BYTES - 'STATUS='.length;
  if (Buffer.byteLength(line) <= limitBytes) return line;
  // Cutting bytes may cut a character in two; what is left of it decodes to U+FFFD and goes too.
  const cut = Buffer.from(line).subarray(0, limitBytes - '…'.length * 3);
  return `${cut.toString('utf8').replace(/\uFFFD+$/, '')}…`;
}
