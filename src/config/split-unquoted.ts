/** Splits a text at `separator` where it is neither within quotes nor after a backslash; the rest stays as it is. */
export function splitUnquoted(text: string, separator: string): string[] {
  // The same quoting as parseCommand reads; a quote that is not closed reaches to the end, and parseCommand tells of it.
  const token = /\\[\s\S]|'[^']*(?:'|$)|"(?:\\[\s\S]|[^"\\])*(?:"|$)|[\s\S]/g;
  const parts = [''];
  for (const [piece] of text.matchAll(token)) {
    if (piece === separator) parts.push('');
    else parts[parts.length - 1] += piece;
  }
  return parts;
}
