import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';

const ROOT = new URL('../../', import.meta.url);
const PAGE = await readFile(new URL('docs/troubleshooting.md', ROOT), 'utf8');

/** File → its text, without the backslashes that stand before quotes. */
const sources = new Map<string, string>();
for (const folder of ['src', 'scripts', 'units']) {
  for (const file of await readdir(new URL(folder, ROOT), { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    const path = `${file.parentPath}/${file.name}`;
    sources.set(path, (await readFile(path, 'utf8')).replace(/\\(['"`])/g, '$1'));
  }
}

/** The messages of the page: the first column of each table that has the column "message", as quoted. */
function quotedMessages(): string[] {
  const tables = PAGE.split(/\n\n/).filter((part) => part.startsWith('| message |'));
  const rows = tables.flatMap((table) => table.split('\n').slice(2));
  return rows.flatMap((row) => (row.split('|')[1] ?? '').match(/(?<=`)[^`]+(?=`)/g) ?? []);
}

/** Whether one file has all that stands between the `…` of the message, in whatever order. */
function isInOneFile(message: string): boolean {
  const parts = message.split('…').filter((part) => part.trim() !== '');
  return [...sources.values()].some((text) => parts.every((part) => text.includes(part)));
}

test('docs/troubleshooting.md quotes only messages that src, scripts or units have', () => {
  const messages = quotedMessages();
  assert.ok(messages.length >= 60, `${messages.length} messages`);
  assert.deepEqual(
    messages.filter((message) => !isInOneFile(message)),
    [],
  );
});

test('a quoted message says enough to be found, and an invented one is not', () => {
  assert.equal(isInOneFile('no such words are in … any source'), false);
  const short = quotedMessages().filter((message) => message.replaceAll('…', '').trim().length < 8);
  assert.deepEqual(short, []);
});
