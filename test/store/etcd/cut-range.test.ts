import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { cutRange, rangeBelow } from '../../../src/store/etcd/cut-range.ts';
import { JunkAnswerError } from '../../../src/store/etcd/etcd-errors.ts';
import { message } from '../../../src/store/etcd/protobuf.ts';
import { fewerInQuickRun } from '../../support/quick-run.ts';

/** All that etcd sends: https://github.com/etcd-io/etcd/tree/main/api */
const Sent = message({
  header: [
    1,
    message({ clusterId: [1, 'int64'], memberId: [2, 'int64'], revision: [3, 'int64'], raftTerm: [4, 'int64'] }),
  ],
  kvs: [
    2,
    message({
      key: [1, 'text'],
      createRevision: [2, 'int64'],
      modRevision: [3, 'int64'],
      version: [4, 'int64'],
      value: [5, 'text'],
      lease: [6, 'int64'],
    }),
    'repeated',
  ],
  more: [3, 'flag'],
  count: [4, 'int64'],
});

const plain = { noNullPrototype: true };
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);
const revision = fc.nat(Number.MAX_SAFE_INTEGER).map(String);
const sent = (unit: 'grapheme' | 'grapheme-ascii', root = '') => {
  const entry = fc.record(
    {
      key: fc.string({ unit, maxLength: 200 }).map((key) => root + key),
      createRevision: revision,
      modRevision: revision,
      version: revision,
      value: fc.string({ unit, maxLength: 300 }),
      lease: int64,
    },
    plain,
  );
  const header = fc.record({ clusterId: int64, memberId: int64, revision, raftTerm: revision }, plain);
  const whole = { header, kvs: fc.array(entry, { maxLength: 5 }), more: fc.boolean(), count: revision };
  return fc.record(whole, plain).map(Sent.encode);
};

/** What the decoder says; the class of what it throws. */
function outcome(decode: (bytes: Buffer) => unknown, bytes: Buffer): unknown {
  try {
    return decode(bytes);
  } catch (error) {
    return (error as Error).name;
  }
}

function isAsDecoded(bytes: Buffer, root = ''): void {
  const [cut, whole] = [rangeBelow(root, true), rangeBelow(root, false)];
  assert.deepEqual(outcome(cut.response.decode, bytes), outcome(whole.response.decode, bytes));
}

describe('a range whose texts are cut out of the answer', () => {
  it('is cut where all texts are ASCII, and then as it is decoded', () => {
    fc.assert(
      fc.property(sent('grapheme-ascii', '/rollcall/'), (bytes) => {
        assert.notEqual(cutRange(bytes, '/rollcall/'), null);
        isAsDecoded(bytes, '/rollcall/');
      }),
    );
  });

  it('is cut for the largest count that is exact', () => {
    const bytes = Sent.encode({ kvs: [], more: true, count: String(Number.MAX_SAFE_INTEGER) });
    assert.notEqual(cutRange(bytes, ''), null);
    isAsDecoded(bytes);
  });

  it('has keys without the root, and is refused where a key does not start with it', () => {
    const answer = (...keys: readonly string[]) => Sent.encode({ kvs: keys.map((key) => ({ key, value: 'b' })) });
    for (const cut of [true, false]) {
      const { decode } = rangeBelow('/rollcall/', cut).response;
      const keys = decode(answer('/rollcall/v1/a', '/rollcall/')).kvs.map(({ key }) => key);
      assert.deepEqual(keys, ['v1/a', '']);
      for (const bytes of [answer('/rollcall'), answer('/rollcall/v1/a', '/other/v1/a'), answer('')]) {
        assert.throws(() => decode(bytes), JunkAnswerError);
      }
    }
  });

  it('is decoded where a text is not', () => {
    const bytes = Sent.encode({ kvs: [{ key: 'a', value: 'b' }, { key: 'ä' }] });
    assert.equal(cutRange(bytes, ''), null);
    assert.deepEqual(rangeBelow('', true).response.decode(bytes).kvs[1]?.key, 'ä');
    fc.assert(fc.property(sent('grapheme'), (bytes) => isAsDecoded(bytes)));
  });

  it('is as it is decoded, or refused alike, where the answer is damaged', () => {
    const damage = fc.record({ at: fc.nat(10_000), cut: fc.nat(3), put: fc.uint8Array({ maxLength: 12 }) });
    const answer = fc.oneof(sent('grapheme-ascii'), sent('grapheme'), fc.uint8Array().map(Buffer.from));
    fc.assert(
      fc.property(answer, damage, (bytes, { at, cut, put }) => {
        const place = at % (bytes.length + 1);
        isAsDecoded(Buffer.concat([bytes.subarray(0, place), put, bytes.subarray(place + cut)]));
      }),
      { numRuns: fewerInQuickRun(5_000) },
    );
  });

  it('is as it is decoded for numbers at the edge of 64 bits, and lengths that point outside', () => {
    const numbers = [
      '7f',
      '8001',
      'ffffffffffffff0f',
      'ffffffffffffff10',
      `${'80'.repeat(9)}01`,
      `${'80'.repeat(9)}02`,
    ];
    for (const number of [...numbers, `${'80'.repeat(10)}01`, `${'ff'.repeat(9)}01`, '80', '']) {
      for (const start of [
        '12',
        '0a',
        '18',
        '20',
        '28',
        '120218',
        '120230',
        '120b30',
        '120a0a',
        '12020a',
        '12042a',
        '1200',
      ]) {
        isAsDecoded(Buffer.from(start + number, 'hex'));
        isAsDecoded(Buffer.from(`${start}${number}0a0161`, 'hex'));
      }
    }
  });
});
