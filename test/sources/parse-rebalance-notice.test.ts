import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRebalanceNotice } from '../../src/sources/notices.ts';

test('a rebalance recommendation tells since when', () => {
  assert.deepEqual(parseRebalanceNotice('{"noticeTime":"2026-11-22T10:26:18Z"}'), {
    kind: 'rebalance-recommendation',
    action: null,
    time: '2026-11-22T10:26:18.000Z',
  });
});

test('an answer that is no recommendation is an error', () => {
  for (const text of ['', '<html>', '{}', '{"noticeTime":42}'])
    assert.throws(() => parseRebalanceNotice(text), /expected .*, got "/, text);
});
