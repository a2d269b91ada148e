import { printable } from '../printable.ts';

/**
 * Longest cell that is shown whole in a table; JSON has everything. An ARN, cut, would name nothing: with a cluster's
 * name of 255 characters it has 360.
 */
const MAX_CELL = 400;

/**
 * Rows as a table for people: columns padded to their widest cell, two spaces apart, `-` for what is unknown, nothing
 * after the last cell. Control characters, which could come from another node's record, never reach the terminal.
 * @param legend the header row; null for none
 */
export function renderTable(legend: readonly string[] | null, rows: readonly (readonly (string | null)[])[]): string {
  const lines = legend ? [legend, ...rows] : rows;
  const widths = (lines[0] ?? []).map(() => 0);
  // Plain loops: a list of 10,000 nodes has 40,000 cells, and a command ends before its code is compiled well.
  const cells = lines.map((line) => {
    const texts: string[] = [];
    for (const cell of line) {
      const text = cellText(cell);
      const column = texts.push(text) - 1;
      if (text.length > (widths[column] ?? 0)) widths[column] = text.length;
    }
    return texts;
  });
  let table = '';
  for (const texts of cells) {
    const last = texts.pop() ?? '';
    let line = '';
    for (let column = 0; column < texts.length; column += 1) {
      line += `${texts[column]?.padEnd(widths[column] ?? 0)}  `;
    }
    table += `${printable(line + last)}\n`;
  }
  return table;
}

function cellText(cell: string | null): string {
  if (cell === null || cell === '') return '-';
  return cell.length > MAX_CELL ? cell.slice(0, MAX_CELL) : cell;
}
