import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { JunkAnswerError } from '../../../src/store/etcd/errors.ts';
import {
  encodeMessage,
  fieldCursor,
  fromBase64,
  keyAfter,
  parseRangeResponse,
  prefixEnd,
  toBase64,
} from '../../../src/store/etcd/messages.ts';

describe('bytes', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1 });
  const compare = (a: string, b: string) => Buffer.compare(Buffer.from(a, 'base64'), Buffer.from(b, 'base64'));

  describe('keys as bytes', () => {
    it('are the same there and back', () => {
      fc.assert(fc.property(text, (key) => assert.equal(fromBase64(toBase64(key)), key)));
    });

    it('have an end after every key with the prefix and before the next without it', () => {
      fc.assert(
        fc.property(text, text, (prefix, other) => {
          assert.ok(compare(toBase64(prefix + other), prefixEnd(prefix)) < 0);
          const inside =
            compare(toBase64(other), toBase64(prefix)) >= 0 && compare(toBase64(other), prefixEnd(prefix)) < 0;
          assert.equal(inside, other.startsWith(prefix));
        }),
      );
    });

    it('have nothing between a key and the one after it', () => {
      assert.equal(fromBase64(keyAfter(toBase64('/a/é'))), '/a/é\0');
    });
  });
});

describe('grpc range', () => {
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
});

describe('protobuf', () => {
  const hex = (message: Buffer) => message.toString('hex');
  const bytes = (text: string) => Buffer.from(text, 'hex');

  /** Every field with its id; the odd ones are read as numbers, the even ones as bytes. */
  function readAll(message: Buffer): [number, string][] {
    const fields = fieldCursor(message);
    const read: [number, string][] = [];
    for (let id = fields.next(); id !== 0; id = fields.next()) {
      read.push([id, id % 2 === 1 ? fields.int64() : hex(fields.bytes())]);
    }
    return read;
  }

  function skipAll(message: Buffer): number {
    const fields = fieldCursor(message);
    let count = 0;
    for (; fields.next() !== 0; count += 1) fields.skip();
    return count;
  }

  describe('a protobuf message', () => {
    // The first two are the examples of https://protobuf.dev/programming-guides/encoding/
    it('is written as its specification shows', () => {
      assert.equal(hex(encodeMessage([[1, 150]])), '089601');
      assert.equal(hex(encodeMessage([[2, Buffer.from('testing')]])), '120774657374696e67');
      assert.equal(hex(encodeMessage([[1, -1n]])), '08ffffffffffffffffff01');
      assert.equal(hex(encodeMessage([[16, 1n]])), '800101');
      assert.equal(hex(encodeMessage([[1, 0]])), '', 'zero is what is not there');
      assert.equal(hex(encodeMessage([[2, Buffer.alloc(0)]])), '1200');
    });

    it('is read as its specification shows', () => {
      assert.deepEqual(readAll(bytes('089601120774657374696e67')), [
        [1, '150'],
        [2, hex(Buffer.from('testing'))],
      ]);
      assert.deepEqual(readAll(bytes('08ffffffffffffffffff01')), [[1, '-1']]);
      assert.deepEqual(readAll(bytes('08ffffffffffffffff7f')), [[1, '9223372036854775807']]);
      assert.deepEqual(readAll(bytes('088080808080808010')), [[1, String(2n ** 53n)]]);
    });

    it('is read as it was written, with any 64-bit number and any bytes', () => {
      const number = fc.tuple(
        fc.integer({ min: 0, max: 2 ** 28 - 1 }),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      );
      const text = fc.tuple(fc.integer({ min: 1, max: 2 ** 28 - 1 }), fc.uint8Array({ maxLength: 300 }));
      const field = fc.oneof(
        number.map(([id, value]) => [id * 2 + 1, value] as const),
        text.map(([id, value]) => [id * 2, Buffer.from(value)] as const),
      );
      fc.assert(
        fc.property(fc.array(field, { maxLength: 8 }), (fields) => {
          const written = fields.filter(([, value]) => value !== 0n);
          const expected = written.map(([id, value]) => [id, typeof value === 'bigint' ? String(value) : hex(value)]);
          const message = encodeMessage(fields);
          assert.deepEqual(readAll(message), expected);
          assert.equal(skipAll(message), expected.length);
        }),
      );
    });

    it('may hold fields that are not known, of every type there is', () => {
      assert.equal(skipAll(bytes('0901020304050607080d010203041a00089601')), 4);
    });

    it('is refused where it is none, and never read beyond its end', () => {
      for (const junk of [
        '08',
        '0896',
        '1205',
        '12ffffffff0f',
        '0d010203',
        '09',
        '0b',
        '00',
        '0700',
        '08ffffffffffffffffffff01',
      ]) {
        assert.throws(() => skipAll(bytes(junk)), RangeError, junk);
      }
      assert.throws(() => readAll(bytes('0a0161')), RangeError, 'bytes where a number belongs');
      assert.throws(() => readAll(bytes('1001')), RangeError, 'a number where bytes belong');
    });

    it('ends in fields or in a RangeError, whatever the bytes are', () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 60 }), (junk) => {
          try {
            skipAll(Buffer.from(junk));
          } catch (error) {
            assert.ok(error instanceof RangeError, String(error));
          }
        }),
      );
    });
  });
});
