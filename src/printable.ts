// By the numbers of the characters: Unicode property classes take ten times as long, and a list prints 40,000 cells.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/**
 * Text of others (a record, a key, an answer) for a terminal or a log line: without control characters, which could
 * forge further lines or steer the terminal.
 */
export function printable(text: string): string {
  // Hardly any text has one, and looking is cheaper than copying.
  return CONTROL.test(text) ? text.replaceAll(new RegExp(CONTROL, 'g'), '?') : text;
}
