import { describeError } from '../errors.ts';
import { parseSsmRegistration, type SsmRegistration } from './parse-ssm-registration.ts';
import { readSmallFile } from './read-small-file.ts';
import { SourceError } from './source-error.ts';

/** It has some 70 bytes. */
const MAX_BYTES = 4_096;

/** @throws SourceError that says what would help */
export async function readSsmRegistration(path: string): Promise<SsmRegistration> {
  let bytes: Buffer;
  try {
    bytes = await readSmallFile(path, MAX_BYTES + 1);
  } catch (error) {
    throw new SourceError(`read the SSM registration ${path}: ${help(error)}`);
  }
  if (bytes.length > MAX_BYTES) {
    throw new SourceError(`SSM registration ${path}: over ${MAX_BYTES} bytes: something else is in its place`);
  }
  return parseSsmRegistration(path, bytes.toString('utf8'));
}

function help(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'no such file: register the host with SSM, mount the file, or give --identity mi-…';
  if (code === 'EACCES') return 'not readable: it is root’s; run as root, or give --identity mi-…';
  // What docker makes of a mount whose source is missing; SSM cannot write its file there any more.
  if (code === 'EISDIR')
    return 'it is a directory, as docker makes where a file is missing: remove it on the host, and register that with SSM';
  return describeError(error);
}
