import type { ListFormat } from '../config/flags.ts';
import { isPrintableLines, printable } from '../lib/foreign-text.ts';

/** A column of a list. */
export interface ListField<Item> {
  readonly header: string;
  readonly value: (item: Item) => string | null;
  /** Where sorting goes by another order than that of the text: smaller comes first. */
  readonly rank?: (value: string) => number;
  /** Its digits are no numbers, as in hexadecimal ids: sorting compares character by character. */
  readonly isId?: true;
}

/**
 * Maximum length of a cell; JSON has the whole value. It must be longer than an ARN, which has up to 360 characters with a
 * cluster name of 255.
 */
const MAX_CELL = 400;

/**
 * Formats rows as a table: columns padded to their widest cell, with two spaces between them, `-` for null, no space after
 * the last cell. Control characters, which a record of another node may have, are replaced.
 * @param legend the header row; null: none
 */
export function renderTable(legend: readonly string[] | null, rows: readonly (readonly (string | null)[])[]): string {
  const lines = legend ? [legend, ...rows] : rows;
  return layOut(lines.length, lines[0]?.length ?? 0, (line, column) => cellText(lines[line]?.[column] ?? null));
}

/**
 * In plain loops, and one text made of many at once, because 10,000 nodes have 40,000 cells and a command ends before its
 * code is optimized.
 */
function layOut(lines: number, columns: number, cell: (line: number, column: number) => string): string {
  const parts = new Array<string>(lines * columns * 2);
  const widths = new Array<number>(columns).fill(0);
  for (let line = 0, at = 0; line < lines; line += 1) {
    for (let column = 0; column < columns; column += 1, at += 2) {
      const text = cell(line, column);
      parts[at] = text;
      if (text.length > (widths[column] ?? 0)) widths[column] = text.length;
    }
  }
  for (let column = 0; column < columns; column += 1) {
    const gaps = column === columns - 1 ? null : gapsAfter(widths[column] ?? 0);
    for (let at = column * 2; at < parts.length; at += columns * 2) {
      parts[at + 1] = gaps === null ? '\n' : (gaps[(parts[at] ?? '').length] ?? '');
    }
  }
  const text = parts.join('');
  return isPrintableLines(text, lines) ? text : layOut(lines, columns, (line, column) => printable(cell(line, column)));
}

/** What follows a cell of each length: spaces up to the next column. @param width of the widest cell */
function gapsAfter(width: number): readonly string[] {
  return Array.from({ length: width + 1 }, (_, length) => ' '.repeat(width - length + 2));
}

/**
 * Sorts by these columns, the first one first; what is unknown comes last, equal items keep their order. A number in a
 * text that is no id counts as a number: 10.0.0.9 comes before 10.0.0.10.
 */
export function sortByFields<Item>(items: readonly Item[], fields: readonly ListField<Item>[]): readonly Item[] {
  if (fields.length === 0) return items;
  const { compare } = new Intl.Collator('en', { numeric: true });
  const keyed = items.map((item) => ({ item, keys: fields.map(({ value }) => value(item)) }));
  keyed.sort((a, b) => {
    for (const [column, field] of fields.entries()) {
      const [left = null, right = null] = [a.keys[column], b.keys[column]];
      if (left === right) continue;
      if (left === null) return 1;
      if (right === null) return -1;
      const rank = field.rank === undefined ? 0 : field.rank(left) - field.rank(right);
      const order = rank === 0 ? (field.isId ? compareText : compare)(left, right) : rank;
      if (order !== 0) return order;
    }
    return 0;
  });
  return keyed.map(({ item }) => item);
}

const compareText = (left: string, right: string) => (left < right ? -1 : 1);

/** A list in the format of `-o`, whole: see `listPieces`. */
export function renderList<Item>(...list: Parameters<typeof listPieces<Item>>): string {
  return [...listPieces(...list)].join('');
}

/** Items of a piece of JSON: some 700 kB. */
const PIECE_ITEMS = 500;

/**
 * A list in the format of `-o`, in pieces: as one text the JSON of 10,000 nodes, 14 MB, would be in memory three times until
 * it is written.
 * @param json an item as JSON has it @param more members of the object of `-o json`
 */
export function* listPieces<Item>(
  { output, legend }: { readonly output: ListFormat; readonly legend: boolean },
  items: readonly Item[],
  fields: readonly ListField<Item>[],
  json: (item: Item) => unknown,
  more: object = {},
): Generator<string, void, undefined> {
  if (output === 'json') {
    yield* jsonPieces(items, json, more);
    return;
  }
  if (output === 'ndjson') {
    for (const part of parts(items)) yield part.map((item) => `${JSON.stringify(json(item))}\n`).join('');
    return;
  }
  const header = legend && output !== 'name' ? 1 : 0;
  yield layOut(header + items.length, fields.length, (line, column) => {
    const field = fields[column] as ListField<Item>;
    return line < header ? field.header : cellText(field.value(items[line - header] as Item));
  });
}

/** What `JSON.stringify` writes around the items of a list. */
const [HEAD, TAIL] = ['{\n  "containerInstances": [\n', '\n  ]\n}'];

/** The text of `JSON.stringify({ containerInstances, ...more }, null, 2)`. */
function* jsonPieces<Item>(
  items: readonly Item[],
  json: (item: Item) => unknown,
  more: object,
): Generator<string, void, undefined> {
  const whole = (containerInstances: readonly unknown[]) => JSON.stringify({ containerInstances, ...more }, null, 2);
  const end = whole([0]).slice(HEAD.length + '    0'.length);
  let before = HEAD;
  for (const part of parts(items)) {
    yield before;
    yield JSON.stringify({ containerInstances: part.map(json) }, null, 2).slice(HEAD.length, -TAIL.length);
    before = ',\n';
  }
  yield `${items.length === 0 ? whole([]) : end}\n`;
}

function* parts<Item>(items: readonly Item[]): Generator<readonly Item[], void, undefined> {
  for (let from = 0; from < items.length; from += PIECE_ITEMS) yield items.slice(from, from + PIECE_ITEMS);
}

function cellText(cell: string | null): string {
  if (cell === null || cell === '') return '-';
  return cell.length > MAX_CELL ? cell.slice(0, MAX_CELL) : cell;
}
