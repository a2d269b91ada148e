import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { fromBase64, keyAfter, prefixEnd, toBase64 } from '../../../src/store/etcd/messages.ts';

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
