import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { BodyTooLargeError } from '../../../src/lib/http-client.ts';
import { jsonLines } from '../../../src/store/etcd/client.ts';

async function* chunksOf(bytes: Buffer, sizeBytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

async function linesOf(text: string, chunkBytes: number, maxBytes: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of jsonLines(chunksOf(Buffer.from(text), chunkBytes), maxBytes)) lines.push(line);
  return lines;
}

describe('the lines of a stream', () => {
  it('are the same however the stream is cut, even within a character', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'grapheme' })),
        fc.integer({ min: 1, max: 9 }),
        async (texts, size) => {
          const lines = texts.map((text) => JSON.stringify(text));
          assert.deepEqual(await linesOf(lines.map((line) => `${line}\n`).join(''), size, 10_000), lines);
        },
      ),
    );
  });

  it('leave out a last one that was cut short', async () => {
    assert.deepEqual(await linesOf('{"a":1}\n{"b":', 3, 100), ['{"a":1}']);
  });

  it('are bounded, with and without an end', async () => {
    assert.deepEqual(await linesOf('12345\n', 2, 5), ['12345']);
    await assert.rejects(linesOf('123456\n', 2, 5), BodyTooLargeError);
    await assert.rejects(linesOf('123456\n', 100, 5), BodyTooLargeError);
    await assert.rejects(linesOf('123456', 1, 5), BodyTooLargeError);
  });
});
