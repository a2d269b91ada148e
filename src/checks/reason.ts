import { printable } from '../printable.ts';

const MAX_REASON_CHARACTERS = 200;

/** The first line of a text that says something, fit for a record and a terminal. */
export function reasonFrom(text: string): string {
  const line = text
    .split(/[\r\n]+/)
    // Tabs and colours of a terminal are no text.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character begins a colour
    .map((each) => each.replaceAll(/\u001b\[[0-9;]*[A-Za-z]/g, '').replaceAll(/\s+/g, ' '))
    .map((each) => printable(each).trim())
    .find((each) => /[^?\s\ufffd]/.test(each));
  const characters = [...(line ?? '')];
  if (characters.length <= MAX_REASON_CHARACTERS) return characters.join('');
  return `${characters.slice(0, MAX_REASON_CHARACTERS - 1).join('')}…`;
}
