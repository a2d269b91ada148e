import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { startMachineTimer, TURN_MS } from './machine-time.ts';

/**
 * A clock running `factor` times as fast as the real one, or as machine time where `factor` is at most 1. Above 1 it saves
 * waiting, and deadlines want that much more; below 1 it makes short deadlines longer, so that a busy machine does not
 * decide what comes first.
 */
export function scaledClock(factor: number): Clock {
  if (factor <= 1) return machineClock(factor);
  return {
    monotonicMs: () => systemClock.monotonicMs() * factor,
    wallMs: systemClock.wallMs,
    sleep: (delayMs, signal) => systemClock.sleep(delayMs / factor, signal),
  };
}

function machineClock(factor: number): Clock {
  const timer = startMachineTimer();
  const nowMs = () => {
    timer.tick();
    return timer.elapsedMs() * factor;
  };
  return {
    monotonicMs: nowMs,
    wallMs: systemClock.wallMs,
    async sleep(delayMs, signal) {
      const endMs = nowMs() + delayMs;
      // Once also for a delay of 0, as the real one.
      for (let leftMs = delayMs; ; ) {
        await systemClock.sleep(Math.min(leftMs / factor, TURN_MS), signal);
        leftMs = endMs - nowMs();
        if (leftMs <= 0) return;
      }
    },
  };
}
