import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import {
  decideFates,
  initialVerdict,
  judgeLosses,
  type VerdictInput,
  type VerdictState,
  type VerdictStep,
} from './loss-verdict.ts';
import type { MassLossLimits } from './mass-loss.ts';

interface VerdictRunnerOptions {
  readonly clock: Clock;
  readonly limits: MassLossLimits;
  /** Asks the store how many of the present nodes are overdue. */
  readonly countOverdue: (signal: AbortSignal) => Promise<{ readonly asked: number; readonly overdue: number }>;
  /** Whether the roll is confirmed to be current. No wait ends by a roll that may have changed. */
  readonly isFresh: () => boolean;
  readonly onStep: (step: VerdictStep) => void;
}

/** Runs the loss verdict: polls the store and wakes the verdict when it asks for that. */
interface VerdictRunner {
  state(): VerdictState;
  feed(input: VerdictInput): void;
  /** The verdict's own time, monotonic, without pauses. */
  nowMs(): number;
  /** The roll is confirmed to be current: time runs again, and a wake-up that waited for this happens now. */
  resume(): void;
  /**
   * The store's state is unknown since the monotonic instant `sinceMs`: time stops there. Lost nodes get their time to
   * return while the roll shows whether they do.
   */
  pause(sinceMs: number): void;
  /** Clears the state and ends a running poll. */
  reset(): void;
}

/** The verdict is given without an answer long before; a poll that takes longer is given up. */
const POLL_TIMEOUT_MS = 2_000;

export function createVerdictRunner(options: VerdictRunnerOptions): VerdictRunner {
  const { clock, limits, isFresh, onStep } = options;
  let state = initialVerdict;
  let running = new AbortController();
  let wake = new AbortController();
  let wakeAtMs: number | null = null;
  let pausedSinceMs: number | null = null;
  let pausedMs = 0;
  let overslept = false;
  let polling = false;

  const nowMs = () => (pausedSinceMs ?? clock.monotonicMs()) - pausedMs;

  function feed(input: VerdictInput) {
    const step = judgeLosses(state, input, { monotonicMs: nowMs(), wallMs: clock.wallMs() }, limits);
    decideFates(state.open, input, step);
    state = step.state;
    wakeAtMs = step.wakeAtMs;
    sleepUntilWake();
    if (step.poll && !polling) void poll(running.signal);
    onStep(step);
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
    nowMs,
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
      state = initialVerdict;
    },
  };
}
