import { type Clock, systemClock } from '../../src/lib/clock.ts';

/** The system clock, which a test can move forward. Sleeps keep their real length. */
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
