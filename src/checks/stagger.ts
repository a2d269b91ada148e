/**
 * When checks look, so that they never all do at once. Each keeps to a beat of its own: the first looks are spread over
 * one interval, and each later one is due a whole number of intervals after the first, however long the looks take.
 * A loop that slept an interval after each look would drift by what the look took, and in the end meet the others.
 */

/** How long after the start probe `index` (from 0) of `count` looks first, in ms. */
export function firstLookMs(index: number, count: number, intervalMs: number): number {
  return (intervalMs * index) / count;
}

/**
 * When to look next: on the beat of `dueMs`, the instant at which the last look was due (not when it began or ended),
 * and after `nowMs`. Beats that a long look has missed are left out.
 */
export function nextLookMs(dueMs: number, intervalMs: number, nowMs: number): number {
  const passed = Math.max(0, Math.floor((nowMs - dueMs) / intervalMs));
  const nextMs = dueMs + intervalMs * (passed + 1);
  // A beat that is now may be a fraction short of a whole number of intervals: that one has passed.
  return nextMs > nowMs ? nextMs : nextMs + intervalMs;
}
