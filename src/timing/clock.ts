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
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      const timer = setTimeout(
        () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
        Math.min(Math.max(delayMs, 0), MAX_TIMER_MS),
      );
      signal.addEventListener('abort', onAbort, { once: true });
    }),
};
