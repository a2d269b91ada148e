import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { encodeMessage, fieldCursor } from '../../../src/store/etcd/messages.ts';

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
