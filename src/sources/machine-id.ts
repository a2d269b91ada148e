import { describeError, quote } from '../lib/errors.ts';
import { readSmallFile } from '../lib/read-small-file.ts';
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
