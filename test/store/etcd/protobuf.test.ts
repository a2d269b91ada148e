import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { message } from '../../../src/store/etcd/protobuf.ts';
import { RANGE, RangeKeys } from '../../../src/store/etcd/rpc.ts';

const hex = (bytes: Buffer) => bytes.toString('hex');
const bytes = (text: string) => Buffer.from(text, 'hex');
const Numbers = message({ a: [1, 'int64'], b: [2, 'bytes'], far: [16, 'flag'] });

describe('a protobuf message', () => {
  // The first two are the examples of https://protobuf.dev/programming-guides/encoding/
  it('is written as its specification shows', () => {
    assert.equal(hex(Numbers.encode({ a: '150' })), '089601');
    assert.equal(hex(Numbers.encode({ b: 'testing' })), '120774657374696e67');
    assert.equal(hex(Numbers.encode({ a: '-1' })), '08ffffffffffffffffff01');
    assert.equal(hex(Numbers.encode({ far: true })), '800101');
    assert.equal(hex(Numbers.encode({ a: '0', b: '', far: false })), '', 'zero is what is not there');
  });

  it('is read as its specification shows', () => {
    assert.deepEqual(Numbers.decode(bytes('089601120774657374696e67800101')), {
      a: '150',
      b: Buffer.from('testing'),
      far: true,
    });
    assert.equal(Numbers.decode(bytes('08ffffffffffffffffff01')).a, '-1');
    assert.equal(Numbers.decode(bytes('08ffffffffffffffff7f')).a, '9223372036854775807');
    assert.equal(Numbers.decode(bytes('088080808080808010')).a, String(2n ** 53n));
  });

  it('takes what is left out as zero, false, empty or null', () => {
    const Outer = message({ inner: [1, Numbers], list: [2, Numbers, 'repeated'], text: [3, 'text'] });
    assert.deepEqual(Outer.decode(Buffer.alloc(0)), { inner: null, list: [], text: '' });
    const there = Outer.encode({ inner: {}, list: [{}, { a: '7' }] });
    assert.equal(hex(there), '0a00120012020807', 'a message is there, even where it is empty');
    assert.deepEqual(Outer.decode(there), {
      inner: { a: '0', b: Buffer.alloc(0), far: false },
      list: [
        { a: '0', b: Buffer.alloc(0), far: false },
        { a: '7', b: Buffer.alloc(0), far: false },
      ],
      text: '',
    });
  });

  it('is read as it was written, with any 64-bit number, any bytes and any nesting', () => {
    const Leaf = message({ number: [1, 'int64'], raw: [2, 'bytes'], word: [3, 'text'], yes: [300, 'flag'] });
    const Tree = message({ leaf: [1, Leaf], leaves: [2, Leaf, 'repeated'], raws: [3, 'bytes', 'repeated'] });
    const plain = { noNullPrototype: true };
    const raw = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
    const leaf = fc.record(
      {
        number: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
        raw,
        word: fc.string({ unit: 'grapheme' }),
        yes: fc.boolean(),
      },
      plain,
    );
    const tree = fc.record(
      { leaf, leaves: fc.array(leaf, { maxLength: 5 }), raws: fc.array(raw, { maxLength: 5 }) },
      plain,
    );
    fc.assert(fc.property(tree, (value) => assert.deepEqual(Tree.decode(Tree.encode(value)), value)));
  });

  it('may hold fields that are not known, of every type there is', () => {
    assert.deepEqual(message({}).decode(bytes('0901020304050607080d010203041a00089601')), {});
  });

  it('is refused where it is none, and never read beyond its end', () => {
    const cut = [
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
    ];
    for (const junk of cut) assert.throws(() => message({}).decode(bytes(junk)), RangeError, junk);
    assert.throws(() => Numbers.decode(bytes('0a0161')), RangeError, 'bytes where a number belongs');
    assert.throws(() => Numbers.decode(bytes('1001')), RangeError, 'a number where bytes belong');
  });

  it('ends in fields or in a RangeError, whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (junk) => {
        try {
          RANGE.response.decode(Buffer.from(junk));
        } catch (error) {
          assert.ok(error instanceof RangeError, String(error));
        }
      }),
    );
  });
});

describe('a range response', () => {
  const kv = (key: Buffer | string) =>
    message({ key: [1, 'bytes'], modRevision: [3, 'int64'], value: [5, 'bytes'], lease: [6, 'int64'] }).encode({
      key,
      modRevision: '41',
      value: 'wert: ä',
      lease: '7587862094561234567',
    });
  const answer = (keys: readonly (Buffer | string)[]) =>
    message({ header: [1, 'bytes'], kvs: [2, 'bytes', 'repeated'], more: [3, 'flag'] }).encode({
      header: message({ revision: [3, 'int64'] }).encode({ revision: '42' }),
      kvs: keys.map(kv),
      more: true,
    });

  it('has its keys, and passes over their leases', () => {
    assert.deepEqual(RANGE.response.decode(answer(['a', 'b'])), {
      header: { clusterId: '0', revision: '42' },
      kvs: [
        { key: 'a', value: 'wert: ä', modRevision: '41' },
        { key: 'b', value: 'wert: ä', modRevision: '41' },
      ],
      more: true,
      count: '0',
    });
  });

  it('keeps the bytes of a key that is no text, to go on after it', () => {
    const raw = Buffer.of(0x61, 0xc0, 0xff);
    assert.equal(RANGE.response.decode(answer([raw])).kvs[0]?.key, 'a\ufffd\ufffd');
    assert.deepEqual(RangeKeys.decode(answer([raw])).kvs[0]?.key, raw);
  });

  it('is refused where it is cut within a key', () => {
    const whole = answer(['a']);
    const keyAt = whole.indexOf('wert');
    for (let length = keyAt - 8; length < keyAt + 8; length += 1) {
      assert.throws(() => RANGE.response.decode(whole.subarray(0, length)), RangeError, `${length} bytes`);
    }
  });
});
