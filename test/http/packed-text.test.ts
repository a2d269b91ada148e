import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { loadPacker, type PackedText } from '../../src/http/packed-text.ts';

const { pack, plain, gzip } = await loadPacker();
/** As after a garbage collection. */
const forgotten = (part: PackedText): PackedText => ({ ...part, raw: { deref: () => undefined } as WeakRef<Buffer> });
const joined = (pieces: Iterable<Uint8Array>) => Buffer.concat([...pieces]).toString();

test('parts one after another are the same text in both codings, with the checksum of the whole', () => {
  const seeded = (n: number) => (n * 2_654_435_761) % 4_294_967_296;
  const texts = ['', 'a', 'ä€😀', ',', 'x'.repeat(70_000)];
  for (let n = 0; n < 40; n += 1) texts.push(String.fromCodePoint(32 + (seeded(n) % 90)).repeat(seeded(n + 7) % 3_000));
  for (let n = 0; n < 20; n += 1) texts.push(Array.from({ length: 900 }, (_, at) => seeded(at * 31 + n)).join(' '));
  for (let count = 0; count <= texts.length; count += 13) {
    const some = texts.slice(0, count);
    const parts = some.map(pack);
    // gunzip checks the length and the CRC-32.
    assert.equal(gunzipSync(Buffer.concat([...gzip(parts)])).toString(), some.join(''));
    assert.equal(joined(plain(parts)), some.join(''));
    assert.equal(joined(plain(parts.map(forgotten))), some.join(''));
  }
});

test('a part can be sent any number of times, and its text is shared while it is in memory', () => {
  const part = pack('shared '.repeat(100));
  const [first, second] = plain([part, part]);
  assert.equal(first, second);
  assert.equal(gunzipSync(Buffer.concat([...gzip([part, part])])).toString(), 'shared '.repeat(200));
  const later = forgotten(part);
  const [inflated, again] = plain([later, later]);
  assert.equal(inflated?.toString(), 'shared '.repeat(100));
  assert.equal(inflated, again);
});
