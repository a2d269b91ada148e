import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { describeError, quote } from '../lib/errors.ts';
import { SourceError } from './source-error.ts';

/**
 * 32 lowercase hex digits; null if systemd has not filled the file yet (empty, or `uninitialized`):
 * https://www.freedesktop.org/software/systemd/man/latest/machine-id.html
 * @param path for messages @throws SourceError for any other text
 */
function parseMachineId(path: string, text: string): string | null {
  const line = text.replace(/\n$/, '');
  if (line === '' || line === 'uninitialized') return null;
  if (/^[0-9a-f]{32}$/.test(line)) return line;
  throw new SourceError(`machine id in ${path}: expected 32 lowercase hex digits, got ${quote(text)}`);
}

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

/** More than a machine id has, so that a longer file is detected. */
const MAX_BYTES = 128;

/**
 * The host's machine id, which fleet shows as the machine; null if the file does not exist.
 * @throws SourceError if the file is unreadable or has other content
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
