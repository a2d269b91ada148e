import type { AgentReport } from '../http/agent-report.ts';
import { type Cell, sleepUnlessChanged } from '../timing/cell.ts';
import type { Clock } from '../timing/clock.ts';
import { describeStatus } from './describe-status.ts';
import { dueNotifications, INITIAL_NOTIFY_STATE } from './notifications.ts';

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
