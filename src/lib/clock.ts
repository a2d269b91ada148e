import { onAbort } from './abort.ts';

/**
 * The only way time enters the program. Logic never calls `Date.now()` or a timer of its own, so that a test (or a
 * simulation of a thousand nodes) can run hours of it in milliseconds.
 */
export interface Clock {
  /** Milliseconds on a scale that never jumps and that all processes of one boot share. Use it for every interval. */
  monotonicMs(): number;
  /** Wall clock, milliseconds since the epoch. Only for instants shown to people or kept across reboots. */
  wallMs(): number;
  /** Resolves after `delayMs`; rejects with the signal's reason when `signal` aborts first. */
  sleep(delayMs: number, signal: AbortSignal): Promise<void>;
}

/** setTimeout turns anything above this into 1 ms, so a longer wait is cut to it (24.8 days). */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  // hrtime is CLOCK_MONOTONIC: shared by the processes of one boot, unlike performance.now(), which starts at zero in each.
  monotonicMs: () => Number(process.hrtime.bigint() / 1000n) / 1000,
  wallMs: () => Date.now(),
  sleep: (delayMs, signal) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const timer = setTimeout(
        () => {
          aborting[Symbol.dispose]();
          resolve();
        },
        Math.min(Math.max(delayMs, 0), MAX_TIMER_MS),
      );
      const aborting = onAbort(signal, (reason) => {
        clearTimeout(timer);
        reject(reason);
      });
    }),
};

/** When the next call may be made, on the monotonic clock. An immutable value. */
export interface Pace {
  readonly freeAtMs: number;
}

export const unhurried: Pace = { freeAtMs: Number.NEGATIVE_INFINITY };

/**
 * Takes the next turn: `atMs` is when the call may be made, never less than a gap after the one before. Turns that
 * nobody took are not saved up, so that no second ever sees more calls than the rate allows.
 * @param perSecond calls a second, > 0
 */
export function takeTurn(pace: Pace, nowMs: number, perSecond: number): { readonly atMs: number; readonly pace: Pace } {
  const atMs = Math.max(nowMs, pace.freeAtMs);
  return { atMs, pace: { freeAtMs: atMs + 1_000 / perSecond } };
}

/**
 * Resolves when it is the caller's turn: at most `perSecond` times a second for all callers together, in the order in
 * which they come. Rejects by the reason of `signal`.
 */
export function createPacer(clock: Clock, perSecond: number): (signal: AbortSignal) => Promise<void> {
  let pace: Pace = unhurried;
  return async (signal) => {
    signal.throwIfAborted();
    const nowMs = clock.monotonicMs();
    const before = pace;
    const turn = takeTurn(pace, nowMs, perSecond);
    pace = turn.pace;
    try {
      if (turn.atMs > nowMs) await clock.sleep(turn.atMs - nowMs, signal);
    } catch (error) {
      // Nobody came after: the turn that was not used is the next one's.
      if (pace === turn.pace) pace = before;
      throw error;
    }
  };
}
