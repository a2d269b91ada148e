import { BodyTooLargeError } from '../../net/bounded-request.ts';

/**
 * The lines of a streamed answer, none longer than `maxBytes`. Reads on only when the next line is asked for.
 * @throws BodyTooLargeError, or what the stream fails with
 */
export async function* jsonLines(chunks: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<string, void, void> {
  let parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
      parts.push(chunk.subarray(start, end));
      if (sizeBytes + end - start > maxBytes) throw new BodyTooLargeError(maxBytes);
      yield Buffer.concat(parts).toString('utf8');
      parts = [];
      sizeBytes = 0;
      start = end + 1;
    }
    parts.push(chunk.subarray(start));
    sizeBytes += chunk.length - start;
    if (sizeBytes > maxBytes) throw new BodyTooLargeError(maxBytes);
  }
}
