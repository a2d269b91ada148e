import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

/**
 * The first `maxBytes` of a small file, by a single read.
 * @throws as `open` and `read` do
 */
export async function readSmallFile(path: string, maxBytes: number): Promise<Buffer> {
  // Without O_NONBLOCK, a pipe in the file's place would hold the open for ever.
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes));
  return buffer.subarray(0, bytesRead);
}
