const MAX_QUOTED_CHARS = 60;

/** Offending text for an error message: on one line, without control characters, cut short. */
export function quote(text: string): string {
  const line = text.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  return line.length <= MAX_QUOTED_CHARS ? `"${line}"` : `"${line.slice(0, MAX_QUOTED_CHARS)}…"`;
}
