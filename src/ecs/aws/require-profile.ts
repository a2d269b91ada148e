import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Sdk } from './open-client.ts';

/** A profile that was asked for by name, and that no file has. */
export class NoProfileError extends Error {
  override readonly name = 'NoProfileError';
}

/**
 * As the aws CLI refuses it. The SDK takes a name that it finds nowhere for one without credentials of its own and goes
 * on to the instance's role: whoever named a profile would ask as somebody else.
 * @throws NoProfileError
 */
export async function requireProfile(
  { loadSharedConfigFiles }: Pick<Sdk, 'loadSharedConfigFiles'>,
  profile: string,
): Promise<void> {
  const configFilepath = process.env['AWS_CONFIG_FILE'] || join(homedir(), '.aws/config');
  const filepath = process.env['AWS_SHARED_CREDENTIALS_FILE'] || join(homedir(), '.aws/credentials');
  // An agent asks for days: what was not there the first time may be by now.
  const files = await loadSharedConfigFiles({ configFilepath, filepath, ignoreCache: true });
  if (Object.values(files).some((profiles) => Object.hasOwn(profiles, profile))) return;
  throw new NoProfileError(`no profile ${JSON.stringify(profile)} to be read in ${configFilepath} or ${filepath}`);
}
