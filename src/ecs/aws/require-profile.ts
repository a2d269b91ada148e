import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Sdk } from './loaded-sdk.ts';

/** A profile that was asked for by name, and that no file has, or has whole. */
export class ProfileError extends Error {
  override readonly name = 'ProfileError';
}

/**
 * As the aws CLI refuses it. The SDK takes a name that it finds nowhere, and half a pair of keys, for a profile without
 * credentials of its own and goes on to the instance's role: whoever named it would ask as somebody else.
 * @throws ProfileError
 */
export async function requireProfile(
  { loadSharedConfigFiles }: Pick<Sdk, 'loadSharedConfigFiles'>,
  profile: string,
): Promise<void> {
  const configFilepath = process.env['AWS_CONFIG_FILE'] || join(homedir(), '.aws/config');
  const filepath = process.env['AWS_SHARED_CREDENTIALS_FILE'] || join(homedir(), '.aws/credentials');
  // An agent asks for days: what was not there the first time may be by now.
  const files = await loadSharedConfigFiles({ configFilepath, filepath, ignoreCache: true });
  const name = JSON.stringify(profile);
  if (!Object.values(files).some((profiles) => Object.hasOwn(profiles, profile))) {
    throw new ProfileError(`no profile ${name} to be read in ${configFilepath} or ${filepath}`);
  }
  const { aws_access_key_id: key, aws_secret_access_key: secret } = {
    ...files.configFile[profile],
    ...files.credentialsFile[profile],
  };
  if (Boolean(key) === Boolean(secret)) return;
  const [there, missing] = key
    ? ['aws_access_key_id', 'aws_secret_access_key']
    : ['aws_secret_access_key', 'aws_access_key_id'];
  throw new ProfileError(`profile ${name} has an ${there} and no ${missing}`);
}
