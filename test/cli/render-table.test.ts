import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderTable } from '../../src/cli/columns.ts';

test('columns are as wide as their widest cell; nothing follows the last', () => {
  const table = renderTable(
    ['IP', 'INSTANCE'],
    [
      ['10.0.0.1', 'i-1'],
      ['10.0.0.100', null],
    ],
  );
  assert.equal(table, 'IP          INSTANCE\n10.0.0.1    i-1\n10.0.0.100  -\n');
  assert.equal(renderTable(null, []), '');
});

test('control characters of a foreign record never reach the terminal', () => {
  assert.equal(renderTable(null, [['a\u001b[2Jb\nc\u009d', '']]), 'a?[2Jb?c?  -\n');
});

test('the longest ARN is shown whole; what is longer than any is cut', () => {
  const prefix = 'arn:aws-us-gov:ecs:us-gov-west-1:123456789012:container-instance';
  const arn = `${prefix}/${'c'.repeat(255)}/01cc9de0-3b9a-1768-fbbb-6f3a2560b1bb`;
  assert.equal(renderTable(null, [[arn]]), `${arn}\n`);
  assert.equal(renderTable(null, [['x'.repeat(1_000_000)]]).length, 401);
});
