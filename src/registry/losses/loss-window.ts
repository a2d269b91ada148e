/** Told losses are counted by the instant until which they are recent, to this many milliseconds. */
const STEP_MS = 250;
/** More instants than a TTL of half an hour has. */
const MAX_INSTANTS = 10_000;

/**
 * Counts losses by when they stop to be recent: a TTL after each was seen. One that was held for so long is not.
 * @param told what there was @param dueAtMs of the losses told now
 */
export function withTold(
  told: ReadonlyMap<number, number>,
  dueAtMs: readonly number[],
  nowMs: number,
): ReadonlyMap<number, number> {
  const counts = new Map([...told].filter(([untilMs]) => untilMs > nowMs));
  for (const dueMs of dueAtMs) {
    if (dueMs <= nowMs) continue;
    const untilMs = Math.ceil(dueMs / STEP_MS) * STEP_MS;
    counts.set(untilMs, (counts.get(untilMs) ?? 0) + 1);
  }
  return counts.size <= MAX_INSTANTS ? counts : new Map([...counts].slice(-MAX_INSTANTS));
}

export function countTold(told: ReadonlyMap<number, number>, nowMs: number): number {
  let count = 0;
  for (const [untilMs, losses] of told) if (untilMs > nowMs) count += losses;
  return count;
}
