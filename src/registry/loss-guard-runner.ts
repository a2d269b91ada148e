import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import type { RollEvent } from '../record/events.ts';
import { type GuardInput, type GuardState, guardLosses, initialGuardState } from './loss-guard.ts';
import type { MassLossLimits } from './mass-loss.ts';

interface GuardRunnerOptions {
  readonly clock: Clock;
  /** null: every loss is sent at once. */
  readonly limits: MassLossLimits | null;
  /** Asks the store how many of the present nodes are overdue. */
  readonly countOverdue: (signal: AbortSignal) => Promise<{ readonly asked: number; readonly overdue: number }>;
  /** Whether the roll is confirmed to be current. No `lost` is sent from a roll that may have changed. */
  readonly isFresh: () => boolean;
  /** Called after each step with its events. */
  readonly emit: (events: readonly RollEvent[]) => void;
}

/** Runs the loss guard: polls the store and wakes the guard when it asks for that. */
interface GuardRunner {
  state(): GuardState;
  feed(input: GuardInput): void;
  /** The roll is confirmed to be current: the guard's time runs again, and a wake-up that waited for this happens now. */
  resume(): void;
  /**
   * The store's state is unknown since the monotonic instant `sinceMs`: the guard's time stops there. Held nodes get
   * their time to return while the roll shows whether they do.
   */
  pause(sinceMs: number): void;
  /** Clears the state and ends a running poll. */
  reset(): void;
}

/** The guard decides without an answer long before; a poll that takes longer is given up. */
const POLL_TIMEOUT_MS = 2_000;

export function createGuardRunner(options: GuardRunnerOptions): GuardRunner {
  const { clock, limits, isFresh, emit } = options;
  let state = initialGuardState;
  let running = new AbortController();
  let wake = new AbortController();
  let wakeAtMs: number | null = null;
  let pausedSinceMs: number | null = null;
  let pausedMs = 0;
  let overslept = false;
  let polling = false;

  /** The guard's own time, without pauses. `wakeAtMs` is in this time. */
  function nowMs(): number {
    return (pausedSinceMs ?? clock.monotonicMs()) - pausedMs;
  }

  function feed(input: GuardInput) {
    const step = guardLosses(state, input, { monotonicMs: nowMs(), wallMs: clock.wallMs() }, limits);
    state = step.state;
    wakeAtMs = step.wakeAtMs;
    sleepUntilWake();
    if (step.poll && !polling) void poll(running.signal);
    emit(step.events);
  }

  function sleepUntilWake() {
    wake.abort();
    overslept = false;
    if (wakeAtMs === null || pausedSinceMs !== null) return;
    wake = new AbortController();
    clock.sleep(wakeAtMs - nowMs(), wake.signal).then(tick, () => {}); // rejects where another instant was set
  }

  function tick() {
    overslept = !isFresh();
    if (!overslept) feed({ kind: 'tick' });
  }

  async function poll(signal: AbortSignal): Promise<void> {
    polling = true;
    let answer = { asked: 0, overdue: 0 };
    try {
      answer = await withDeadline(clock, POLL_TIMEOUT_MS, signal, 'ask for overdue nodes', options.countOverdue);
    } catch {
      // No answer is an answer, too. The follower reports a store that is away.
    }
    if (signal.aborted) return;
    polling = false;
    feed({ kind: 'polled', ...answer });
  }

  return {
    state: () => state,
    feed,
    resume() {
      if (pausedSinceMs !== null) {
        pausedMs += clock.monotonicMs() - pausedSinceMs;
        pausedSinceMs = null;
        sleepUntilWake();
      }
      if (overslept) tick();
    },
    pause(sinceMs) {
      if (pausedSinceMs !== null) return;
      pausedSinceMs = sinceMs;
      wake.abort();
    },
    reset() {
      running.abort();
      running = new AbortController();
      wake.abort();
      wakeAtMs = null;
      pausedSinceMs = null;
      pausedMs = 0;
      overslept = false;
      polling = false;
      state = initialGuardState;
    },
  };
}
