import assert from 'node:assert/strict';
import { test } from 'node:test';
import { escapeOutput, isHostName, isPrintableLines, isWord, printable } from '../../src/lib/foreign-text.ts';

const UNSAFE = [
  '\0',
  '\t',
  '\r',
  '\u001b',
  '\u007f',
  '\u0085',
  '\u009b',
  '\u061c',
  '\u200b',
  '\u200f',
  '\u2028',
  '\u202e',
  '\u2066',
  '\ufeff',
  ...['\u00ad', '\u034f', '\u115f', '\u180b', '\u2800', '\u3164', '\uffa0', '\u{e0001}', '\u{e0061}', '\u{e0100}'],
];

test('no character that controls a terminal or turns text round is printed, in a column or in JSON', () => {
  for (const char of UNSAFE) {
    assert.equal(printable(`a${char}b`), 'a?b');
    assert.equal(isPrintableLines(`one\na${char}b\n\n`, 3), false, JSON.stringify(char));
    assert.equal(isWord(`a${char}b`), false, JSON.stringify(char));
    const json = escapeOutput(`${JSON.stringify({ note: `a${char}b` })}\n`);
    assert.ok(!json.slice(0, -1).includes(char), JSON.stringify(char));
    assert.deepEqual(JSON.parse(json), { note: `a${char}b` });
  }
  assert.equal(printable('⚠\ufe0f disk \u{1f525}'), '⚠\ufe0f disk \u{1f525}');
  assert.equal(isWord('demo\ufe0f'), false);
  assert.equal(isWord('\u{1f525}'), true);
  assert.equal(printable('two\nlines'), 'two?lines');
  assert.equal(isPrintableLines('two\nlines\n', 2), true);
  assert.equal(isPrintableLines('two\nlines\n', 1), false);
  assert.equal(isPrintableLines('', 0), true);
  assert.equal(escapeOutput('two\nlines, ünïcode 漢字 ’\n'), 'two\nlines, ünïcode 漢字 ’\n');
});

test('whatever Unicode lets a program leave out of sight is no part of a word, and is printed as ?', () => {
  const invisible = /[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\p{Cc}\p{Zl}\p{Zp}]/u;
  const missed: string[] = [];
  let count = 0;
  // Planes 0, 1 and 14: no other has such characters.
  for (let code = 0; code <= 0xeffff; code = code === 0x1ffff ? 0xe0000 : code + 1) {
    const char = String.fromCodePoint(code);
    if (!invisible.test(char)) continue;
    count += 1;
    const isVariation = code >= 0xfe00 && code <= 0xfe0f;
    if (isWord(`a${char}b`) || (printable(`a${char}b`) !== 'a?b' && !isVariation)) missed.push(code.toString(16));
  }
  assert.ok(count > 4_000, String(count));
  assert.deepEqual(missed, []);
});

test('a word is one column and no option', () => {
  for (const text of ['us-east-1a', 'arn:aws:ecs:us-east-1:1:x/y', 'ünïcode']) assert.equal(isWord(text), true, text);
  for (const text of ['', ' ', 'a b', 'a\u00a0b', '-o', '--', '\u3000']) assert.equal(isWord(text), false, text);
});

test('a host name has letters, digits, dots, dashes and underscores only', () => {
  for (const text of ['ip-10-0-0-1.ec2.internal', 'a', '_x']) assert.equal(isHostName(text), true, text);
  for (const text of ['', '-a', 'a-', 'a b', 'a;b', 'a.', '$(id)', 'x'.repeat(254)])
    assert.equal(isHostName(text), false, text);
});
