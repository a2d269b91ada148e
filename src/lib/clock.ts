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
        // A timer cuts fractions off, and a loop that wakes before its time waits once more.
        Math.min(Math.max(Math.ceil(delayMs), 0), MAX_TIMER_MS),
      );
      const aborting = onAbort(signal, (reason) => {
        clearTimeout(timer);
        reject(reason);
      });
    }),
};

/** Without `process`, which not all that have `fetch` have; its monotonic clock starts with the program. */
export const webClock: Clock = { ...systemClock, monotonicMs: () => performance.now() };
