import { InvalidArgumentError } from 'commander';

/**
 * The words of a command, for running it without a shell: split at blanks; '…' and "…" keep what is between them, a
 * backslash the character after it (within "…" only before " and \, as in a shell). Nothing is expanded.
 * @throws InvalidArgumentError for a quote that is not closed, or when there is no program in it
 */
export function parseCommand(text: string): readonly [string, ...string[]] {
  const words: string[] = [];
  // Null between words: '' is a word, and nothing is none.
  let word: string | null = null;
  let quote: '"' | "'" | null = null;
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charAt(index);
    const following = text.charAt(index + 1);
    if (character === quote) quote = null;
    else if (character === '\\' && quote !== "'" && (quote === null || following === '"' || following === '\\')) {
      if (following === '') throw new InvalidArgumentError('It ends in a backslash: write \\\\ for the character.');
      word = (word ?? '') + following;
      index += 1;
    } else if (quote === null && (character === '"' || character === "'")) {
      quote = character;
      word ??= '';
    } else if (quote === null && /\s/.test(character)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? '') + character;
  }
  if (quote) throw new InvalidArgumentError(`A ${quote} is not closed.`);
  if (word !== null) words.push(word);
  const [program, ...rest] = words;
  if (!program) throw new InvalidArgumentError('There is no program in it.');
  if (text.includes('\0')) throw new InvalidArgumentError('It holds a NUL character.');
  return [program, ...rest];
}
