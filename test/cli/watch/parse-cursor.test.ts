import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCursor, parseCursor } from '../../../src/cli/watch/cursor-file.ts';

const CURSOR = { store: 'cdf818194e3a8c32/rollcall', revision: '9007199254740993' };

test('what is written is read back, with revisions beyond what a number holds', () => {
  for (const cursor of [CURSOR, { ...CURSOR, revision: null }]) {
    assert.deepEqual(parseCursor(encodeCursor(cursor)), cursor);
  }
});

test('a file that was cut short anywhere is refused, never half understood', () => {
  const text = encodeCursor(CURSOR).trimEnd();
  for (let length = 0; length < text.length; length += 1) {
    assert.ok('refusal' in parseCursor(text.slice(0, length)), `cut to ${length} characters`);
  }
});

test('a refusal says what is wrong, with the value', () => {
  const refusals: [string, RegExp][] = [
    ['', /^it is empty$/],
    [' \n', /^it is empty$/],
    ['hello\u001b[31m', /not JSON, or cut short: "hello\\u001b\[31m"/],
    ['[1]', /holds no cursor: "\[1\]"/],
    ['null', /holds no cursor: "null"/],
    ['{"store":"s","revision":"1"}', /its version is missing, and this rollcall reads 1/],
    ['{"version":2,"store":"s","revision":"1"}', /its version is "2", and this rollcall reads 1/],
    ['{"version":1,"revision":"1"}', /its store is missing/],
    ['{"version":1,"store":"","revision":"1"}', /its store is "", which names none/],
    ['{"version":1,"store":"s","revision":"-1"}', /its revision is "-1", not a whole number/],
    ['{"version":1,"store":"s","revision":12}', /its revision is "12", .* as text/],
    ['{"version":1,"store":"s","revision":"9223372036854775808"}', /not a whole number from 0 to 9223372036854775807/],
  ];
  for (const [text, pattern] of refusals) {
    const parsed = parseCursor(text);
    assert.ok('refusal' in parsed, text);
    assert.match(parsed.refusal, pattern);
    assert.ok(parsed.refusal.length < 200);
  }
});
