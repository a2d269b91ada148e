import assert from 'node:assert/strict';
import { test } from 'node:test';
import { percentBetween } from '../../src/config/flags.ts';

test('percentages are read with and without their sign, within their limits', () => {
  const parse = percentBetween(1, 99);
  assert.deepEqual(['15%', '15', '2.5%', '1', '99%'].map(parse), [15, 15, 2.5, 1, 99]);
  for (const bad of ['0.15', '0', '100', '15 %', '%', '', '-1', '1e1', 'x'])
    assert.throws(() => parse(bad), /from 1% to 99%, such as 15%/, bad);
});
