/** Of a day, an hour, a minute, a second, a millisecond. */
const UNITS_MS = [86_400_000, 3_600_000, 60_000, 1_000, 1];

const PART = String.raw`(?:(\d+(?:\.\d+)?)UNIT)?`;
const PARTS = new RegExp(`^${['d', 'h', 'm(?!s)', 's', 'ms'].map((unit) => PART.replace('UNIT', unit)).join('')}$`);

/** Reads `30s`, `1.5m`, `250ms`, `24h`, `1m30s` as milliseconds; `undefined` for any other text. */
export function parseDuration(text: string): number | undefined {
  const match = text === '' ? null : PARTS.exec(text);
  if (!match) return undefined;
  const durationMs = UNITS_MS.reduce((sumMs, unitMs, index) => sumMs + Number(match[index + 1] ?? 0) * unitMs, 0);
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
