import type { Clock } from '../../timing/clock.ts';

/** Where the kernel did not tell which boot this is, no lease can be known to be of this boot. */
export const UNKNOWN_BOOT = 'unknown';

/** The moment of an operation on the scales that leases are judged by. */
export interface Now {
  readonly bootId: string;
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export function nowOf(clock: Clock, bootId: string): Now {
  return { bootId, monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
}
