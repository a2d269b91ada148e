import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { describeError } from '../lib/errors.ts';
import { quote, SourceError } from './source-error.ts';

/**
 * 32 lowercase hex digits, or null for a file that systemd has yet to fill (empty, or `uninitialized`):
 * https://www.freedesktop.org/software/systemd/man/latest/machine-id.html
 * @throws SourceError when the text is neither @param path for messages
 */
export function parseMachineId(path: string, text: string): string | null {
  const line = text.replace(/\n$/, '');
  if (line === '' || line === 'uninitialized') return null;
  if (/^[0-9a-f]{32}$/.test(line)) return line;
  throw new SourceError(`machine id in ${path}: expected 32 lowercase hex digits, got ${quote(text)}`);
}

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

/** More than a machine id has, so that a longer file is noticed. */
const MAX_BYTES = 128;

/**
 * What fleet calls the machine; null where there is no such file.
 * @throws SourceError when the file cannot be read or holds something else
 */
export async function readMachineId(path = '/etc/machine-id'): Promise<string | null> {
  let text: string;
  try {
    text = (await readSmallFile(path, MAX_BYTES)).toString('latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new SourceError(`read the machine id in ${path}: ${describeError(error)}`);
  }
  return parseMachineId(path, text);
}
