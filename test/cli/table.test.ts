import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { renderTable } from '../../src/cli/table.ts';

describe('render table', () => {
  test('columns are as wide as their widest cell, without spaces after the last', () => {
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

  test('control characters in a record do not reach the terminal', () => {
    assert.equal(renderTable(null, [['a\u001b[2Jb\nc\u009d', '']]), 'a?[2Jb?c?  -\n');
  });

  test('the longest possible ARN is shown whole; a longer text is cut', () => {
    const prefix = 'arn:aws-us-gov:ecs:us-gov-west-1:123456789012:container-instance';
    const arn = `${prefix}/${'c'.repeat(255)}/01cc9de0-3b9a-1768-fbbb-6f3a2560b1bb`;
    assert.equal(renderTable(null, [[arn]]), `${arn}\n`);
    assert.equal(renderTable(null, [['x'.repeat(1_000_000)]]).length, 401);
  });
});
