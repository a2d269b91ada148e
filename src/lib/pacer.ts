import type { Clock } from './clock.ts';

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
