import { homedir } from 'node:os';
import { join } from 'node:path';

/** What was asked, and where: for the message. */
export interface EcsCall {
  /** The IAM action, such as `ecs:ListClusters`. */
  readonly action: string;
  readonly cluster: string | null;
  readonly taskDefinition: string | null;
  readonly profile: string | null;
  /** Null while it is not found. */
  readonly region: string | null;
  /** Null before the first request. */
  readonly endpoint: string | null;
}

/** What answered is not ECS, or not as it is documented: an answer without what it is about, too long, or no JSON. */
export class AnswerError extends Error {
  override readonly name = 'AnswerError';
}

/**
 * Of one answer. 100 container instances with all their attributes are about 1 MB; what sends more is not ECS, or would
 * take its reader's node down.
 */
export const MAX_ANSWER_BYTES = 8 * 1_024 * 1_024;

/** @throws AnswerError beyond the limit; what is left of the answer is not read */
export async function collectAnswer(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop by an error destroys the stream, and its connection with it.
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new AnswerError(`it is longer than ${MAX_ANSWER_BYTES / 1_024 / 1_024} MiB`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** What the SDK's own bundle exports, once it was asked for. */
export type Sdk = typeof import('./sdk.ts');

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
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const configFilepath = env['AWS_CONFIG_FILE'] || join(homedir(), '.aws/config');
  const filepath = env['AWS_SHARED_CREDENTIALS_FILE'] || join(homedir(), '.aws/credentials');
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
