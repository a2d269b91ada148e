import { printable } from '../printable.ts';

/** Longest cell that is shown whole in a table; JSON has everything. */
const MAX_CELL = 200;

/**
 * Rows as a table for people: columns padded to their widest cell, two spaces apart, `-` for what is unknown, nothing
 * after the last cell. Control characters, which could come from another node's record, never reach the terminal.
 * @param legend the header row; null for none
 */
export function renderTable(legend: readonly string[] | null, rows: readonly (readonly (string | null)[])[]): string {
  const cells = rows.map((row) => row.map(cellText));
  if (legend) cells.unshift([...legend]);
  const widths: number[] = [];
  for (const row of cells) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  const padded = (cell: string, column: number) =>
    column < widths.length - 1 ? cell.padEnd(widths[column] ?? 0) : cell;
  return cells.map((row) => `${row.map(padded).join('  ')}\n`).join('');
}

function cellText(cell: string | null): string {
  if (cell === null || cell === '') return '-';
  return printable(cell).slice(0, MAX_CELL);
}
