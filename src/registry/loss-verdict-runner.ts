import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { initialVerdict, judgeLosses, type Telling, type VerdictInput, type VerdictState } from './loss-verdict.ts';
import type { MassLossLimits } from './mass-loss.ts';

interface VerdictRunnerOptions {
  readonly clock: Clock;
  readonly limits: MassLossLimits;
  /** Asks the store how many of the present nodes are overdue. */
  readonly countOverdue: (signal: AbortSignal) => Promise<{ readonly asked: number; readonly overdue: number }>;
  readonly onTelling: (telling: Telling) => void;
}

/**
 * Runs the loss verdict: polls the store when it asks for that, and lets its waits end. Its time is monotonic, and stands
 * still while the store's state is unknown: lost nodes get their time to return while the roll shows whether they do.
 */
interface VerdictRunner {
  state(): VerdictState;
  /** Uncertainties so far, however often it was reset. One that follows another at once is the same. */
  massLosses(): number;
  feed(input: VerdictInput): void;
  nowMs(): number;
  /**
   * All changes that came were fed in. An uncertainty ends when nothing is missing up to its end: until then a change may be
   * the first of many that bring nodes back.
   * @param confirmedMsAgo so long ago the store had no other change: time runs again; null: it may have some
   */
  heard(confirmedMsAgo: number | null): void;
  /** Time stops, at the instant of the last `heard`. */
  pause(): void;
  /** Clears the state and ends a running poll. */
  reset(): void;
}

/** The verdict is given without an answer long before; a poll that takes longer is given up. */
const POLL_TIMEOUT_MS = 2_000;
const TICK: VerdictInput = { kind: 'tick' };

export function createVerdictRunner({ clock, limits, countOverdue, onTelling }: VerdictRunnerOptions): VerdictRunner {
  let state = initialVerdict;
  let running = new AbortController();
  let wake: AbortController | null = null;
  let wakeAtMs: number | null = null;
  let heardAtMs = 0;
  let isPaused = false;
  let pausedMs = 0;
  let polling = false;
  let massLosses = 0;

  const nowMs = () => (isPaused ? heardAtMs : clock.monotonicMs()) - pausedMs;

  function feed(input: VerdictInput, agoMs = 0) {
    const now = { monotonicMs: nowMs() - agoMs, wallMs: clock.wallMs() - agoMs };
    const step = judgeLosses(state, input, now, limits);
    // What a reader with an old cursor made known was over long ago.
    const isNew = input.kind !== 'past' && state.phase.kind !== 'uncertain' && step.state.phase.kind === 'uncertain';
    if (isNew) massLosses += 1;
    ({ state, wakeAtMs } = step);
    sleepUntilWake();
    if (step.poll && !polling) void poll(running.signal);
    if (step.telling) onTelling(step.telling);
  }

  /** Only for an answer of the store: an uncertainty ends with a confirmation, since nodes may have returned unheard. */
  function sleepUntilWake() {
    stopWake();
    if (wakeAtMs === null || isPaused || state.phase.kind !== 'asking') return;
    wake = new AbortController();
    clock.sleep(wakeAtMs - nowMs(), wake.signal).then(
      () => feed(TICK),
      () => {},
    ); // rejects where another instant was set
  }

  /** Only where one runs: to abort makes an error with a stack, at each change of the roll the most expensive part. */
  function stopWake() {
    wake?.abort();
    wake = null;
  }

  async function poll(signal: AbortSignal): Promise<void> {
    polling = true;
    let answer = { asked: 0, overdue: 0 };
    try {
      answer = await withDeadline(clock, POLL_TIMEOUT_MS, signal, 'ask for overdue nodes', countOverdue);
    } catch {
      // No answer is an answer, too. The follower reports a store that is away.
    }
    if (signal.aborted) return;
    polling = false;
    feed({ kind: 'polled', ...answer });
  }

  return {
    state: () => state,
    massLosses: () => massLosses,
    feed: (input) => feed(input),
    nowMs,
    heard(confirmedMsAgo) {
      if (isPaused && confirmedMsAgo === null) return;
      if (isPaused) {
        pausedMs += clock.monotonicMs() - heardAtMs;
        isPaused = false;
        sleepUntilWake();
      }
      heardAtMs = clock.monotonicMs();
      if (confirmedMsAgo !== null && wakeAtMs !== null && nowMs() - confirmedMsAgo >= wakeAtMs)
        feed(TICK, confirmedMsAgo);
    },
    pause() {
      isPaused = true;
      stopWake();
    },
    reset() {
      running.abort();
      running = new AbortController();
      stopWake();
      [state, wakeAtMs, isPaused, pausedMs, polling] = [initialVerdict, null, false, 0, false];
    },
  };
}
