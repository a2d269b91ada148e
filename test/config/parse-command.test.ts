import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseCommand } from '../../src/config/flags.ts';

test('words are split at blanks, quotes and backslashes keep them together, nothing is expanded', () => {
  assert.deepEqual(parseCommand('  df   -h\t/ '), ['df', '-h', '/']);
  assert.deepEqual(parseCommand(`sh -c 'echo "a b" \\ $X'`), ['sh', '-c', 'echo "a b" \\ $X']);
  assert.deepEqual(parseCommand('say "a \\"b\\" \\\\ \\n" c\\ d'), ['say', 'a "b" \\ \\n', 'c d']);
  assert.deepEqual(parseCommand(`x a'b'"c"d '' ""`), ['x', 'abcd', '', '']);
  assert.deepEqual(parseCommand('x $HOME * ~ | > ; #'), ['x', '$HOME', '*', '~', '|', '>', ';', '#']);
});

test('a quote that is not closed, a lonely backslash and a text without a program are refused', () => {
  assert.throws(() => parseCommand(`echo 'a`), /A ' is not closed/);
  assert.throws(() => parseCommand('echo "a\\"'), /A " is not closed/);
  assert.throws(() => parseCommand('echo \\'), /ends in a backslash/);
  for (const text of ['', '  ', `''`, `'' x`]) assert.throws(() => parseCommand(text), /no program/);
  assert.throws(() => parseCommand('echo a\0b'), /NUL/);
});

test('it reads quotes and backslashes as a shell does', () => {
  const piece = fc.constantFrom('a', ' ', "'", '"', '\\', 'ü');
  const text = fc.array(piece, { maxLength: 12 }).map((pieces) => `x ${pieces.join('')}`);
  const texts = fc.sample(text, { numRuns: 300, seed: 7 }).filter((each) => parses(each));
  assert.ok(texts.length > 50, `${texts.length} texts`);
  const script = texts.map((each) => `for w in ${each}; do printf '<%s>' "$w"; done; printf '\\n'`).join('\n');
  const lines = execFileSync('sh', ['-c', script], { encoding: 'utf8' }).split('\n');
  for (const [index, each] of texts.entries()) {
    assert.equal(
      parseCommand(each)
        .map((word) => `<${word}>`)
        .join(''),
      lines[index],
      each,
    );
  }
});

function parses(text: string): boolean {
  try {
    return parseCommand(text).length > 0;
  } catch {
    return false;
  }
}
