import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import type { RollEvent } from '../record/events.ts';
import { type GuardInput, type GuardState, guardLosses, initialGuardState } from './loss-guard.ts';
import type { MassLossLimits } from './mass-loss.ts';

export interface GuardRunnerOptions {
  readonly clock: Clock;
  /** null: every loss is told at once. */
  readonly limits: MassLossLimits | null;
  /** Asks the store how many of the present nodes are overdue. */
  readonly look: (signal: AbortSignal) => Promise<{ readonly asked: number; readonly overdue: number }>;
  /** The roll is known to be as it is now. Nobody is told as lost by what may have changed since. */
  readonly isFresh: () => boolean;
  /** After each step, with its events. */
  readonly tell: (events: readonly RollEvent[]) => void;
}

/** Carries out what the loss guard asks for: its looks at the store and its wake-ups. */
export interface GuardRunner {
  state(): GuardState;
  feed(input: GuardInput): void;
  /** The roll was proven fresh: the guard's time goes on, and a wake-up that waited for this is made up for. */
  proven(): void;
  /**
   * Nothing is known of the store since the monotonic instant `sinceMs`: the guard's time stands still from there on.
   * Who is held has its time to return while that can be seen.
   */
  pause(sinceMs: number): void;
  /** Forgets everything, and ends what is under way. */
  reset(): void;
}

/** The guard decides without an answer long before; a look that takes longer is not waited for. */
const LOOK_TIMEOUT_MS = 2_000;

export function createGuardRunner(options: GuardRunnerOptions): GuardRunner {
  const { clock, limits, isFresh, tell } = options;
  let state = initialGuardState;
  let running = new AbortController();
  let wake = new AbortController();
  let wakeAtMs: number | null = null;
  let pausedSinceMs: number | null = null;
  let pausedMs = 0;
  let overslept = false;
  let looking = false;

  /** The guard's own time. `wakeAtMs` is on its scale. */
  function nowMs(): number {
    return (pausedSinceMs ?? clock.monotonicMs()) - pausedMs;
  }

  function feed(input: GuardInput) {
    const step = guardLosses(state, input, { monotonicMs: nowMs(), wallMs: clock.wallMs() }, limits);
    state = step.state;
    wakeAtMs = step.wakeAtMs;
    sleepUntilWake();
    if (step.look && !looking) void look(running.signal);
    tell(step.events);
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

  async function look(signal: AbortSignal): Promise<void> {
    looking = true;
    let answer = { asked: 0, overdue: 0 };
    try {
      answer = await withDeadline(clock, LOOK_TIMEOUT_MS, signal, 'ask for overdue nodes', options.look);
    } catch {
      // That it could not be told is an answer as well; a store that is away is reported by whoever follows it.
    }
    if (signal.aborted) return;
    looking = false;
    feed({ kind: 'looked', ...answer });
  }

  return {
    state: () => state,
    feed,
    proven() {
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
      looking = false;
      state = initialGuardState;
    },
  };
}
