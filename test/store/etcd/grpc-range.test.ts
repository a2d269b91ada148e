import assert from 'node:assert/strict';
import { it } from 'node:test';
import { JunkAnswerError } from '../../../src/store/etcd/errors.ts';
import { encodeMessage, parseRangeResponse } from '../../../src/store/etcd/messages.ts';

const header = encodeMessage([
  [1, 2n ** 64n - 5n],
  [2, 7n],
  [3, 42n],
  [4, 2n],
]);
const kv = (key: string | Buffer, lease: bigint) =>
  encodeMessage([
    [1, Buffer.from(key)],
    [2, 40n],
    [3, 41n],
    [4, 3n],
    [5, Buffer.from('wert: ä')],
    [6, lease],
  ]);

it('reads the keys of a range, passes over their leases, and whether there are more', () => {
  const answer = encodeMessage([
    [1, header],
    [2, kv('a', 7_587_862_094_561_234_567n)],
    [2, kv('b', -3n)],
    [3, 1],
    [4, 2],
  ]);
  assert.deepEqual(parseRangeResponse(answer, ''), {
    revision: '42',
    kvs: [
      { key: 'a', value: 'wert: ä', modRevision: '41' },
      { key: 'b', value: 'wert: ä', modRevision: '41' },
    ],
    more: true,
    lastKey: Buffer.from('b'),
  });
});

it('takes what is left out as zero, false or empty, but not the revision', () => {
  const bare = encodeMessage([
    [1, header],
    [2, encodeMessage([[1, Buffer.from('a')]])],
  ]);
  const kvs = [{ key: 'a', value: '', modRevision: '0' }];
  assert.deepEqual(parseRangeResponse(bare, ''), { revision: '42', kvs, more: false, lastKey: Buffer.from('a') });
  const nothing = { revision: '42', kvs: [], more: false, lastKey: null };
  assert.deepEqual(parseRangeResponse(encodeMessage([[1, header]]), ''), nothing);
  assert.throws(() => parseRangeResponse(Buffer.alloc(0), ''), RangeError);
  assert.throws(() => parseRangeResponse(encodeMessage([[1, Buffer.alloc(0)]]), ''), RangeError);
});

it('keeps the bytes of a last key that is no text, to go on after it', () => {
  const raw = Buffer.of(0x61, 0xc0, 0xff);
  const page = parseRangeResponse(
    encodeMessage([
      [1, header],
      [2, kv(raw, 0n)],
    ]),
    '',
  );
  assert.deepEqual(page.lastKey, raw);
  assert.equal(page.kvs[0]?.key, 'a\ufffd\ufffd');
});

it('takes the root off each key, and refuses a key outside of it', () => {
  const answer = encodeMessage([
    [1, header],
    [2, kv('/r/a', 0n)],
  ]);
  assert.equal(parseRangeResponse(answer, '/r/').kvs[0]?.key, 'a');
  assert.throws(() => parseRangeResponse(answer, '/other/'), JunkAnswerError);
});

it('refuses a message that is cut anywhere', () => {
  const answer = encodeMessage([
    [2, kv('a', 5n)],
    [1, header],
  ]);
  for (let length = 0; length < answer.length; length += 1) {
    assert.throws(() => parseRangeResponse(answer.subarray(0, length), ''), RangeError, `${length} bytes`);
  }
});
