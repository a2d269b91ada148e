import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { listPieces, renderTable } from '../../src/cli/table.ts';

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

describe('list pieces', () => {
  const items = (count: number) => Array.from({ length: count }, (_, n) => ({ n, 'a "b"': [{ c: null }, '\n'] }));
  const pieces = (output: 'json' | 'ndjson', count: number, more?: object) => {
    return [...listPieces({ output, legend: true }, items(count), [], (item) => item, more)];
  };

  test('together they are the JSON of the whole list', () => {
    for (const count of [0, 1, 2, 500, 501, 1_200]) {
      for (const more of [undefined, { revision: '7' }]) {
        const whole = { containerInstances: items(count), ...more };
        assert.equal(pieces('json', count, more).join(''), `${JSON.stringify(whole, null, 2)}\n`, `${count} items`);
      }
      const lines = items(count).map((item) => `${JSON.stringify(item)}\n`);
      assert.equal(pieces('ndjson', count).join(''), lines.join(''));
    }
  });

  test('no piece is more than a part of a long list', () => {
    for (const output of ['json', 'ndjson'] as const) {
      const all = pieces(output, 2_000);
      const length = all.join('').length;
      assert.ok(Math.max(...all.map((piece) => piece.length)) < length / 3, output);
    }
  });
});
