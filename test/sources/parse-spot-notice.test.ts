import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSpotNotice } from '../../src/sources/notices.ts';

test('a spot notice tells what happens and when', () => {
  assert.deepEqual(parseSpotNotice('{"action":"terminate","time":"2026-11-22T10:26:18Z"}'), {
    kind: 'spot-interruption',
    action: 'terminate',
    time: '2026-11-22T10:26:18.000Z',
  });
});

test('a notice stands without a readable time: losing it would be worse', () => {
  for (const text of [
    '{"action":"hibernate"}',
    '{"action":"hibernate","time":"soon"}',
    '{"action":"hibernate","time":4}',
  ])
    assert.deepEqual(parseSpotNotice(text), { kind: 'spot-interruption', action: 'hibernate', time: null });
});

test('an answer that is no notice is an error that says what was there', () => {
  for (const text of ['', '<html>', '[]', '{}', '{"action":42}', '{"action":"rm -rf"}'])
    assert.throws(() => parseSpotNotice(text), /^SourceError: IMDS spot\/instance-action: .*expected .*, got "/, text);
});
