import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { AgentReport } from '../http/agent-report.ts';
import { abortable } from '../lib/abort.ts';
import { type Cell, sleepUnlessChanged } from '../lib/cell.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';

/** What `systemctl status` shows of an agent: who it is on the roll, or what it waits for; pure, and it does not tick. */
export function describeStatus(report: Pick<AgentReport, 'record' | 'lease' | 'sources' | 'loops'>): string {
  const { record, lease, sources, loops } = report;
  const stuck = loops.find((loop) => loop.ageMs > loop.limitMs);
  if (stuck) return `stuck: the loop ${stuck.name} makes no step`;
  if (lease.state === 'superseded') return 'superseded: another agent registered this node';
  if (!record) {
    const host = sources.find(({ name }) => name === 'host');
    const cause = (host ?? sources.find(({ name }) => name === 'imds'))?.lastError;
    return `waiting for the ${host ? 'SSM registration' : 'EC2 metadata'}${cause ? `: ${cause}` : ''}`;
  }
  const name = `${record.ec2InstanceId} in ${record.cluster ?? 'no cluster yet'}`;
  if (lease.state !== 'held' || !lease.believedGood) {
    const cause = lease.lastError ? `: ${lease.lastError}` : '';
    return `not on the roll: ${name} waits for ${lease.store}${cause}`;
  }
  const { status, checks } = record.health;
  const worst = status === 'passing' ? undefined : checks.find((check) => check.status === status);
  return `registered as ${name}, ${status}${worst ? ` (${worst.name}: ${worst.reason})` : ''}`;
}

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

export interface NotifyConfig {
  readonly by: 'program' | 'stdout';
  /** null where nobody watches. */
  readonly watchdogMs: number | null;
}

/** How a service manager is reached, and how often it wants to hear. */
export interface NotifyChannel {
  /** Tells it some assignments in their order. */
  readonly send: (assignments: readonly string[], signal: AbortSignal) => Promise<void>;
  /** null where it does not watch us. */
  readonly watchdogMs: number | null;
}

export interface NotifierOptions {
  readonly channel: NotifyChannel;
  readonly clock: Clock;
  readonly report: () => AgentReport;
  readonly leaving: Pick<Cell<boolean>, 'get' | 'onChange'>;
  /** Told of the first failure in a row. An agent that cannot notify goes on: whether that is fatal is the unit's matter. */
  readonly onError: (error: unknown) => void;
}

const TICK_MS = 1_000;

/** Keeps the service manager informed until `signal` aborts, with whose reason it rejects. To be started once the agent serves. */
export async function runNotifier(options: NotifierOptions, signal: AbortSignal): Promise<never> {
  const { channel, clock, report, leaving, onError } = options;
  let state = INITIAL_NOTIFY_STATE;
  let failing = false;
  for (;;) {
    const now = report();
    const due = dueNotifications(state, clock.monotonicMs(), {
      status: describeStatus(now),
      progressing: now.loops.every((loop) => loop.ageMs <= loop.limitMs),
      leaving: leaving.get(),
      watchdogMs: channel.watchdogMs,
    });
    if (due.assignments.length > 0) {
      try {
        await channel.send(due.assignments, signal);
        failing = false;
        state = due.state;
      } catch (error) {
        signal.throwIfAborted();
        if (!failing) onError(error);
        failing = true; // all that was due is due again at the next tick
      }
    }
    // Asked to leave while sending: that is told before anything else.
    const overtaken = leaving.get() && !state.stopping && !failing;
    if (!overtaken) await sleepUnlessChanged(clock, TICK_MS, [leaving], signal);
  }
}

const PROGRAM = 'systemd-notify';
const LIMIT_MS = 5_000;

/**
 * Tells the service manager by its own program: Node has no Unix datagram sockets. The unit has to say
 * NotifyAccess=all, since the sender is our child.
 */
export function notifyByProgram(
  clock: Clock,
  program = PROGRAM,
): (assignments: readonly string[], signal: AbortSignal) => Promise<void> {
  return (assignments, signal) =>
    withDeadline(clock, LIMIT_MS, signal, program, async (inner) => {
      await promisify(execFile)(program, [...assignments], { signal: inner, killSignal: 'SIGKILL' });
    });
}

export interface NotifyEnvironment {
  readonly clock: Clock;
  readonly stdout: (text: string) => Promise<void>;
}

/** The way to the service manager that the configuration asks for; null where there is none. */
export function openNotifyChannel(config: NotifyConfig | null, environment: NotifyEnvironment): NotifyChannel | null {
  if (!config) return null;
  const { watchdogMs } = config;
  if (config.by === 'program') return { watchdogMs, send: notifyByProgram(environment.clock) };
  // Out of a container no datagram reaches systemd in the unit's name, but stdout reaches the unit's own shell. One that
  // does not read is waited for, lest what it missed piles up; where systemd watches us, it does not wait for long.
  const send = (assignments: readonly string[], signal: AbortSignal) =>
    abortable(environment.stdout(assignments.map((one) => `${one}\n`).join('')), signal);
  return { watchdogMs, send };
}
