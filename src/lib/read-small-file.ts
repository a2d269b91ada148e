import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

/**
 * The first `maxBytes` of a small file, in a single read.
 * @throws the errors of `open` and `read`
 */
export async function readSmallFile(path: string, maxBytes: number): Promise<Buffer> {
  // Without O_NONBLOCK, `open` would block forever on a named pipe.
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes));
  return buffer.subarray(0, bytesRead);
}
