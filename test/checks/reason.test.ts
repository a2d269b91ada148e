import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reasonFrom } from '../../src/checks/check.ts';

test('the first line that says something is the reason, without what steers a terminal', () => {
  assert.equal(reasonFrom('\n \r\n\tdisk   is full \nmore'), 'disk is full');
  assert.equal(reasonFrom('\u001b[31mred\u001b[0m alert\u0007'), 'red alert?');
  assert.equal(reasonFrom('\u0000\u0001\n\ufffd\ntext'), 'text');
  assert.equal(reasonFrom('???'), '');
  assert.equal(reasonFrom(''), '');
});

test('a long line is cut to 200 characters, none of them in two', () => {
  assert.equal(reasonFrom('x'.repeat(200)), 'x'.repeat(200));
  const cut = reasonFrom('😀'.repeat(300));
  assert.deepEqual([[...cut].length, cut.endsWith('😀…')], [200, true]);
});
