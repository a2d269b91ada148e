import { describeError } from '../errors.ts';
import { parseMachineId } from './parse-machine-id.ts';
import { readSmallFile } from './read-small-file.ts';
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
    text = (await readSmallFile(path, MAX_BYTES)).toString('latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new SourceError(`read the machine id in ${path}: ${describeError(error)}`);
  }
  return parseMachineId(path, text);
}
