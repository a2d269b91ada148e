import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { describeError } from '../errors.ts';
import { parseMachineId } from './parse-machine-id.ts';
import { SourceError } from './source-error.ts';

/** More than a machine id has, so that a longer file is noticed. */
const MAX_BYTES = 128;

/**
 * What fleet calls the machine; null where there is no such file.
 * @throws SourceError when the file cannot be read or holds something else
 */
export async function readMachineId(path = '/etc/machine-id'): Promise<string | null> {
  let text: string;
  try {
    // Without O_NONBLOCK, a pipe in the file's place would hold the open for ever.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_BYTES));
    text = buffer.toString('latin1', 0, bytesRead);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new SourceError(`read the machine id in ${path}: ${describeError(error)}`);
  }
  return parseMachineId(path, text);
}
