import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  durationBetween,
  httpOrigin,
  integerBetween,
  labels,
  listenAddress,
  nonEmpty,
  parseCommand,
  percentBetween,
  splitUnquoted,
} from '../../src/config/flags.ts';
import { decodeRecord, encodeRecord, refusedFields } from '../../src/record/codec.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

describe('parse command', () => {
  test('words are split at blanks; quotes and backslashes quote; nothing is expanded', () => {
    assert.deepEqual(parseCommand('  df   -h\t/ '), ['df', '-h', '/']);
    assert.deepEqual(parseCommand(`sh -c 'echo "a b" \\ $X'`), ['sh', '-c', 'echo "a b" \\ $X']);
    assert.deepEqual(parseCommand('say "a \\"b\\" \\\\ \\n" c\\ d'), ['say', 'a "b" \\ \\n', 'c d']);
    assert.deepEqual(parseCommand(`x a'b'"c"d '' ""`), ['x', 'abcd', '', '']);
    assert.deepEqual(parseCommand('x $HOME * ~ | > ; #'), ['x', '$HOME', '*', '~', '|', '>', ';', '#']);
  });

  test('an unclosed quote, a final backslash and a text without a program are refused', () => {
    assert.throws(() => parseCommand(`echo 'a`), /A ' is not closed/);
    assert.throws(() => parseCommand('echo "a\\"'), /A " is not closed/);
    assert.throws(() => parseCommand('echo \\'), /ends in a backslash/);
    for (const text of ['', '  ', `''`, `'' x`]) assert.throws(() => parseCommand(text), /no program/);
    assert.throws(() => parseCommand('echo a\0b'), /NUL/);
  });

  test('quotes and backslashes are read as in a shell', () => {
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
});

describe('parse option', () => {
  test('durations are read within their limits', () => {
    const parse = durationBetween(1_000, 3_600_000, 's');
    assert.equal(parse('30s'), 30_000);
    assert.equal(parse('1.5m'), 90_000);
    assert.throws(() => parse('30'), /such as 250ms, 30s/);
    assert.throws(() => parse('-1s'), /such as/);
    assert.throws(() => parse('500ms'), /from 1s to 1h/);
    assert.throws(() => parse('2h'), /from 1s to 1h/);
    assert.throws(() => parse('1500ms'), /whole seconds/);
  });

  test('integers are read within their limits', () => {
    assert.equal(integerBetween(1, 9)('9'), 9);
    for (const bad of ['0', '10', '1.5', 'x', '', '1e1']) assert.throws(() => integerBetween(1, 9)(bad), /from 1 to 9/);
  });

  test('an empty text is refused', () => {
    assert.equal(nonEmpty(' a'), ' a');
    assert.throws(() => nonEmpty(''), /empty: give it a value or leave it out/);
  });

  test('an origin loses its final slash; paths, queries and other schemes are refused', () => {
    const parse = httpOrigin('http://127.0.0.1:51690');
    assert.equal(parse('http://127.0.0.1:51678/'), 'http://127.0.0.1:51678');
    for (const bad of ['127.0.0.1:51678', 'ftp://h', 'http://h/path', 'http://h?x', 'http://u:p@h'])
      assert.throws(() => parse(bad), /such as http:\/\/127\.0\.0\.1:51690, without a path/);
  });

  test('listen addresses are read', () => {
    assert.deepEqual(listenAddress('127.0.0.1:51690'), { host: '127.0.0.1', port: 51_690 });
    assert.deepEqual(listenAddress('[::1]:0'), { host: '::1', port: 0 });
    for (const all of [':80', '[::]:80', '[::0]:80', '[0:0:0:0:0:0:0:0]:80']) {
      assert.deepEqual(listenAddress(all), { host: '::', port: 80 }, all);
    }
    for (const bad of ['[:::]:80', '[1.2.3.4]:80']) assert.throws(() => listenAddress(bad), /not an IPv6 address/);
    for (const bad of ['80', 'h:', 'h:65536', 'h:-1', '::1:80']) assert.throws(() => listenAddress(bad), /HOST:PORT/);
  });

  test('labels add up over repeated flags and commas', () => {
    assert.deepEqual(labels('b=2,c=', labels('a=1')), { a: '1', b: '2', c: '' });
    for (const bad of ['a', '=1', 'a=1,', 'a=\u0007', 'a=\u202e', `${'k'.repeat(64)}=1`])
      assert.throws(() => labels(bad), /KEY=VALUE/);
    assert.throws(() => labels('constructor=x'), /cannot be the key/);
    // What an agent takes, readers take, but for a space: the agent says so.
    assert.deepEqual(labels('a=two words'), { a: 'two words' });
    const given = labels('Team.a_b/c-d=x:y@z+1/._-,dash=-x,none=');
    const decoded = decodeRecord(sampleInstanceId(), encodeRecord(sampleRecord({ labels: given })));
    assert.ok(decoded.ok);
    assert.deepEqual([decoded.value.labels, refusedFields(decoded.value)], [given, []]);
    assert.throws(() => labels(Array.from({ length: 33 }, (_, n) => `k${n}=v`).join(',')), /At most 32/);
  });
});

describe('parse percent', () => {
  test('percentages are read with and without %, within their limits', () => {
    const parse = percentBetween(1, 99);
    assert.deepEqual(['15%', '15', '2.5%', '1', '99%'].map(parse), [15, 15, 2.5, 1, 99]);
    for (const bad of ['0.15', '0', '100', '15 %', '%', '', '-1', '1e1', 'x'])
      assert.throws(() => parse(bad), /from 1% to 99%, such as 15%/, bad);
  });
});

describe('split unquoted', () => {
  test('a separator in quotes or after a backslash does not separate', () => {
    assert.deepEqual(splitUnquoted('a;b', ';'), ['a', 'b']);
    assert.deepEqual(splitUnquoted(`x='a;b';y="c\\";d";z=e\\;f`, ';'), [`x='a;b'`, `y="c\\";d"`, 'z=e\\;f']);
    assert.deepEqual(splitUnquoted(`a';b`, ';'), [`a';b`]);
    assert.deepEqual(splitUnquoted('', ';'), ['']);
    assert.deepEqual(splitUnquoted(';', ';'), ['', '']);
  });
});
