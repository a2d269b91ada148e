const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Reads `30s`, `1.5m`, `250ms`, `24h`, `7d` as milliseconds; `undefined` for any other text. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  if (!match) return undefined;
  const durationMs = Number(match[1]) * UNITS_MS[match[2] as keyof typeof UNITS_MS];
  return Number.isFinite(durationMs) ? Math.round(durationMs) : undefined;
}

/** Writes milliseconds the way `parseDuration` reads them, in at most two units: `3m12s`, `24h`, `250ms`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1_000) return `${Math.max(0, Math.round(durationMs))}ms`;
  let restS = Math.floor(durationMs / 1_000);
  const parts: string[] = [];
  for (const [unit, unitS] of [
    ['d', 86_400],
    ['h', 3_600],
    ['m', 60],
    ['s', 1],
  ] as const) {
    const count = Math.floor(restS / unitS);
    restS -= count * unitS;
    if (count > 0) parts.push(`${count}${unit}`);
    if (parts.length === 2) break;
  }
  return parts.join('');
}
