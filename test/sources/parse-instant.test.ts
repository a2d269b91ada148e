import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseInstant } from '../../src/sources/notices.ts';

test('both of EC2’s forms become RFC 3339 in UTC', () => {
  assert.equal(parseInstant('2026-11-22T10:26:18Z'), '2026-11-22T10:26:18.000Z');
  assert.equal(parseInstant('2026-11-22T11:26:18+01:00'), '2026-11-22T10:26:18.000Z');
  assert.equal(parseInstant('21 Jan 2027 09:00:43 GMT'), '2027-01-21T09:00:43.000Z');
});

test('what names no instant, or none without knowing this machine’s time zone, is unknown', () => {
  for (const text of [
    '',
    '1',
    'soon',
    '2026-11-22',
    '2026-11-22T10:26:18',
    '21 Jan 2027 09:00:43',
    '32 Jan 2027 09:00:43 GMT',
  ])
    assert.equal(parseInstant(text), null, text);
});
