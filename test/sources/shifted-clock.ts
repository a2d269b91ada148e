import { type Clock, systemClock } from '../../src/lib/clock.ts';

/** The system's clock, which a test can move ahead; sleeps last as long as they say. */
export function shiftedClock(): Clock & { advance(ms: number): void } {
  let shiftMs = 0;
  return {
    ...systemClock,
    monotonicMs: () => systemClock.monotonicMs() + shiftMs,
    advance: (ms) => {
      shiftMs += ms;
    },
  };
}
