/**
 * What text from outside (another node's record, an answer, a file) may become: on a terminal, in a column, in a
 * variable of a shell, in JSON. This file alone decides it. Only a node's own agent writes its record, but any client that
 * can write the store can write any text into it, and operators' scripts pass columns on to ssh.
 */

/**
 * Characters that control a terminal or change how the text around them is displayed: C0, DEL and C1; the bidirectional
 * marks, embeddings and isolates; invisible spaces, joiners, fillers and tags; line and paragraph separators; the byte
 * order mark. Where invisible text may stand, two names that look alike are two.
 * Ranges, because Unicode property classes take ten times as long and a list prints 40,000 cells.
 */
const UNSAFE_BUT_C0 =
  '\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e' +
  '\\u2060-\\u206f\\u2800\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb' +
  // First halves: of shorthand (U+1BC00) and musical symbols (U+1D000), which have invisible controls among them, and of
  // U+E0000 to U+E0FFF, tags and more selectors.
  '\\ud82f\\ud834\\udb40-\\udb43';
/** Choose the form of the character before them, as in many emojis: allowed in free text, and not in a word. */
const VARIATIONS = '\\ufe00-\\ufe0f';
const SECOND_HALF = '[\\udc00-\\udfff]?';
const UNSAFE = `\\u0000-\\u001f${UNSAFE_BUT_C0}`;
const HAS_UNSAFE = new RegExp(`[${UNSAFE}]`);
const ALL_UNSAFE = new RegExp(`[${UNSAFE}]${SECOND_HALF}`, 'g');
/** The same without the line feed, which ends a line of output. */
const ALL_UNSAFE_IN_OUTPUT = new RegExp(`[\\u0000-\\u0009\\u000b-\\u001f${UNSAFE_BUT_C0}]${SECOND_HALF}`, 'g');
const WORD = new RegExp(`^${wordOf(wordChar())}$`);
export const HOST_NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$/;

/** One line that cannot control a terminal: each unsafe character becomes `?`. */
export function printable(text: string): string {
  // Few texts have one, and a test is cheaper than a copy.
  return HAS_UNSAFE.test(text) ? text.replace(ALL_UNSAFE, '?') : text;
}

/**
 * True if the text is that many lines, each as `printable` makes it. One search in all of them takes a fraction of one in
 * each, and few have anything to be found.
 */
export function isPrintableLines(text: string, lines: number): boolean {
  let lineFeeds = 0;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) lineFeeds += 1;
  return lineFeeds === lines && text.search(ALL_UNSAFE_IN_OUTPUT) === -1;
}

/**
 * Output as it may go to a terminal or into a pipe: each unsafe character but the line feed becomes its escape \uXXXX,
 * which inside JSON means the same character.
 */
export function escapeOutput(text: string): string {
  const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return text.replace(ALL_UNSAFE_IN_OUTPUT, (found) => found.split('').map(escaped).join(''));
}

/**
 * Source of a pattern for one character of a word: no white space and no unsafe character.
 * @param not more characters that it may not be, as in a character class
 */
export function wordChar(not = ''): string {
  return `[^\\s${UNSAFE}${VARIATIONS}${not}]`;
}

/** Source of a pattern for a word: no dash in front, which would make it an option of the next program. */
export function wordOf(char: string): string {
  return `(?!-)${char}+`;
}

/** True if the text is one column of a table and one argument of a command. */
export function isWord(text: string): boolean {
  return WORD.test(text);
}

export function isHostName(text: string): boolean {
  return HOST_NAME.test(text);
}
