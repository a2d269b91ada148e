import { systemClock } from '../../src/lib/clock.ts';

/**
 * The real clock running `factor` times as fast. Above 1 it saves waiting, and deadlines want that much more; below 1 it
 * makes short deadlines longer, so that a busy machine does not decide what comes first.
 */
export function scaledClock(factor: number): typeof systemClock {
  return {
    monotonicMs: () => systemClock.monotonicMs() * factor,
    wallMs: systemClock.wallMs,
    sleep: (delayMs, signal) => systemClock.sleep(delayMs / factor, signal),
  };
}
