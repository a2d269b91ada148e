import { promisify } from 'node:util';
import type { AgentReport } from '../http/agent-report.ts';
import { abortable } from '../lib/abort.ts';
import { type Cell, sleepUnlessChanged } from '../lib/cell.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';

/** The status line of an agent in `systemctl status`: what it is on the roll, and why its HTTP does not answer; pure. */
export function describeStatus(report: StatusReport, httpTrouble: string | null): string {
  const status = describeRegistration(report);
  return httpTrouble === null ? status : `${status}; no HTTP: ${httpTrouble}`;
}

type StatusReport = Pick<AgentReport, 'record' | 'lease' | 'sources' | 'loops'>;

/** Its registration, or what it waits for, without changing numbers. */
function describeRegistration(report: StatusReport): string {
  const { record, lease, sources, loops } = report;
  const stuck = loops.find((loop) => loop.ageMs > loop.limitMs);
  if (stuck) return `stuck: loop ${stuck.name} makes no progress`;
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

/** systemd drops a longer notification that comes through a relay. */
export const MAX_NOTIFICATION_BYTES = 1_024;

/** Each notification starts a program on the host: a status that changes all the time must not start one every second. */
const STATUS_PAUSE_MS = 2_000;

/** What the service manager was notified of so far. Instants are on the monotonic clock. */
interface NotifyState {
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
  /** All loops of the agent made a step within their limits. */
  readonly progressing: boolean;
  readonly leaving: boolean;
  /** Null without a watchdog. */
  readonly watchdogMs: number | null;
}

/**
 * The assignments of systemd's protocol (sd_notify(3)) that are due at `nowMs`, and the state once they are sent; pure.
 * READY is due at the first call: the caller answers HTTP already, or waits for its port, which may take longer than
 * TimeoutStartSec=. MAINPID is never sent: a pid inside a container is another process, or none, on the host.
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
  // The status is sent along with READY and STOPPING in any case.
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

/** Cuts a text to one line that fits into one notification with its name. */
function fit(text: string): string {
  const line = text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim();
  const limitBytes = MAX_NOTIFICATION_BYTES - 'STATUS='.length;
  if (Buffer.byteLength(line) <= limitBytes) return line;
  // A cut within a character leaves a part that decodes to U+FFFD, which is removed.
  const cut = Buffer.from(line).subarray(0, limitBytes - '…'.length * 3);
  return `${cut.toString('utf8').replace(/\uFFFD+$/, '')}…`;
}

export interface NotifyConfig {
  readonly by: 'program' | 'stdout';
  /** Null without a watchdog. */
  readonly watchdogMs: number | null;
}

/** How the service manager is notified, and how often it needs the watchdog's notification. */
export interface NotifyChannel {
  /** Sends assignments in their order. */
  readonly send: (assignments: readonly string[], signal: AbortSignal) => Promise<void>;
  /** Null without a watchdog. */
  readonly watchdogMs: number | null;
}

interface NotifierOptions {
  readonly channel: NotifyChannel;
  readonly clock: Clock;
  readonly report: () => AgentReport;
  /** Why the agent does not answer HTTP; null: it does. */
  readonly httpTrouble: () => string | null;
  readonly leaving: Pick<Cell<boolean>, 'get' | 'onChange'>;
  /** Called for the first failure in a row. The agent goes on: the unit decides whether that is fatal. */
  readonly onError: (error: unknown) => void;
}

const TICK_MS = 1_000;

/** Notifies the service manager until `signal` aborts, and rejects with its reason. Start it once the agent answers HTTP, or knows that it cannot yet. */
export async function runNotifier(options: NotifierOptions, signal: AbortSignal): Promise<never> {
  const { channel, clock, report, httpTrouble, leaving, onError } = options;
  let state = INITIAL_NOTIFY_STATE;
  let failing = false;
  for (;;) {
    const now = report();
    const due = dueNotifications(state, clock.monotonicMs(), {
      status: describeStatus(now, httpTrouble()),
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
        failing = true; // the same assignments are due again at the next tick
      }
    }
    // Asked to leave while sending: STOPPING goes out at once.
    const overtaken = leaving.get() && !state.stopping && !failing;
    if (!overtaken) await sleepUnlessChanged(clock, TICK_MS, [leaving], signal);
  }
}

const PROGRAM = 'systemd-notify';
const LIMIT_MS = 5_000;

/**
 * Notifies the service manager by systemd-notify, since Node has no Unix datagram sockets. The unit needs
 * NotifyAccess=all, because the sender is a child of the agent.
 */
export function notifyByProgram(
  clock: Clock,
  program = PROGRAM,
): (assignments: readonly string[], signal: AbortSignal) => Promise<void> {
  return (assignments, signal) =>
    withDeadline(clock, LIMIT_MS, signal, program, async (inner) => {
      const { execFile } = await import('node:child_process'); // not needed where no unit started the agent
      await promisify(execFile)(program, [...assignments], { signal: inner, killSignal: 'SIGKILL' });
    });
}

interface NotifyEnvironment {
  readonly clock: Clock;
  readonly stdout: (text: string) => Promise<void>;
}

/** The channel that the configuration asks for; null: none. */
export function openNotifyChannel(config: NotifyConfig | null, environment: NotifyEnvironment): NotifyChannel | null {
  if (!config) return null;
  const { watchdogMs } = config;
  if (config.by === 'program') return { watchdogMs, send: notifyByProgram(environment.clock) };
  // From a container no datagram reaches systemd in the unit's name, but stdout reaches the unit's shell. A shell that
  // does not read is waited for, so that nothing piles up; with a watchdog, systemd ends that wait.
  const send = (assignments: readonly string[], signal: AbortSignal) =>
    abortable(environment.stdout(assignments.map((one) => `${one}\n`).join('')), signal);
  return { watchdogMs, send };
}
