import type { Clock } from './clock.ts';
import { type Pace, takeTurn, unhurried } from './pace.ts';

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
