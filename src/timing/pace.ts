/** When the next call may be made, on the monotonic clock. An immutable value. */
export interface Pace {
  readonly freeAtMs: number;
}

export const unhurried: Pace = { freeAtMs: Number.NEGATIVE_INFINITY };

/**
 * Takes the next turn: `atMs` is when the call may be made, never less than a gap after the one before. Turns that
 * nobody took are not saved up, so that no second ever sees more calls than the rate allows.
 * @param perSecond calls a second, > 0
 */
export function takeTurn(pace: Pace, nowMs: number, perSecond: number): { readonly atMs: number; readonly pace: Pace } {
  const atMs = Math.max(nowMs, pace.freeAtMs);
  return { atMs, pace: { freeAtMs: atMs + 1_000 / perSecond } };
}
