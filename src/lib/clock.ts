import { onAbort } from './abort.ts';

/**
 * The program's only source of time. Logic never calls `Date.now()` or a timer itself, so that a test (or a simulation of
 * a thousand nodes) can run hours in milliseconds.
 */
export interface Clock {
  /** Milliseconds of a clock that never jumps and that all processes of one boot share. Use it for every interval. */
  monotonicMs(): number;
  /** Wall clock, milliseconds since the epoch. Only for instants shown to people or kept across reboots. */
  wallMs(): number;
  /** Resolves after `delayMs`; rejects with the signal's reason when `signal` aborts first. */
  sleep(delayMs: number, signal: AbortSignal): Promise<void>;
}

/** setTimeout treats a longer delay as 1 ms, so longer waits are cut to this (24.8 days). */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  // hrtime is CLOCK_MONOTONIC, which the processes of one boot share; performance.now() starts at zero in each process.
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

/** When the next call may be made (monotonic). An immutable value. */
interface Pace {
  readonly freeAtMs: number;
}

export const unhurried: Pace = { freeAtMs: Number.NEGATIVE_INFINITY };

/**
 * Takes the next turn: `atMs` is when the call may be made, at least one gap after the previous one. Unused turns are not
 * saved up, so that no second has more calls than the rate allows.
 * @param perSecond calls a second, > 0
 */
export function takeTurn(pace: Pace, nowMs: number, perSecond: number): { readonly atMs: number; readonly pace: Pace } {
  const atMs = Math.max(nowMs, pace.freeAtMs);
  return { atMs, pace: { freeAtMs: atMs + 1_000 / perSecond } };
}

/**
 * Resolves when it is the caller's turn: at most `perSecond` times a second for all callers together, in the order of
 * their calls. Rejects with the reason of `signal`.
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
      // No later caller has a turn yet: give the unused turn back.
      if (pace === turn.pace) pace = before;
      throw error;
    }
  };
}
