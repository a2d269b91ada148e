/** A setting of the AWS configuration is missing, contradictory or cannot be carried out; nothing else is tried. */
export class CredentialError extends Error {
  override readonly name = 'CredentialError';
  /** The next step. */
  readonly help: string;
  /** True if the same call may succeed later without any change by the user. */
  readonly retryable: boolean;
  constructor(message: string, help: string, retryable = false) {
    super(message);
    this.help = help;
    this.retryable = retryable;
  }
}

export interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** Where the credentials come from: exactly one source, which may need another one for the call that it makes. */
export type CredentialSource =
  | { readonly kind: 'keys'; readonly keys: Keys }
  | { readonly kind: 'process'; readonly profile: string; readonly command: string }
  | { readonly kind: 'role'; readonly profile: string; readonly role: Role; readonly source: CredentialSource }
  | {
      readonly kind: 'web-identity';
      /** The setting that names the file, for messages. */
      readonly setting: string;
      readonly tokenFile: string;
      readonly roleArn: string;
      readonly sessionName: string | null;
    }
  | { readonly kind: 'sso'; readonly profile: string }
  | { readonly kind: 'login'; readonly profile: string }
  | { readonly kind: 'container' }
  | { readonly kind: 'instance' };

interface Role {
  readonly arn: string;
  readonly sessionName: string | null;
  readonly externalId: string | null;
  /** null: the default of STS, one hour. */
  readonly durationSeconds: number | null;
}

export type Environment = Readonly<Record<string, string | undefined>>;
type Settings = Readonly<Record<string, string | undefined>>;

/** The parsed configuration files of the AWS tools, each by profile. */
interface SharedFiles {
  readonly configFile: Readonly<Record<string, Settings>>;
  readonly credentialsFile: Readonly<Record<string, Settings>>;
  /** Their paths, for messages. */
  readonly paths: readonly [config: string, credentials: string];
}

const FILES_HELP = 'check --profile and AWS_PROFILE; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name other files';

/**
 * Chooses the one source of credentials, as the aws CLI does: --profile outranks the keys in the environment, which
 * outrank AWS_PROFILE. A source that is named is the only one: if it cannot give credentials, the call fails. The role of
 * the instance is asked only if nothing else is named; any other fall-back would sign as an identity that the user did
 * not choose.
 * Sources: the order in botocore/credentials.py (create_credential_resolver); the answers of both aws CLIs, observed.
 * @param profile --profile
 * @throws CredentialError
 */
export function chooseCredentialSource(env: Environment, files: SharedFiles, profile: string | null): CredentialSource {
  if (profile !== null) return namedProfile(env, files, profile);
  const keys = environmentKeys(env);
  if (keys !== null) return keys;
  if (env['AWS_PROFILE']) return namedProfile(env, files, env['AWS_PROFILE']);
  const tokenFile = env['AWS_WEB_IDENTITY_TOKEN_FILE'];
  if (tokenFile) {
    return webIdentity('AWS_WEB_IDENTITY_TOKEN_FILE', tokenFile, env['AWS_ROLE_ARN'], env['AWS_ROLE_SESSION_NAME']);
  }
  return (hasProfile(files, 'default') ? ofProfile(env, files, 'default', []) : null) ?? ofHost(env);
}

/** The source that a named profile has or, for one without any setting for credentials, that of the host. */
function namedProfile(env: Environment, files: SharedFiles, profile: string): CredentialSource {
  if (!hasProfile(files, profile)) {
    const [config, credentials] = files.paths;
    throw new CredentialError(`no profile ${JSON.stringify(profile)} in ${config} or ${credentials}`, FILES_HELP);
  }
  return ofProfile(env, files, profile, []) ?? ofHost(env);
}

function hasProfile({ configFile, credentialsFile }: SharedFiles, profile: string): boolean {
  return Object.hasOwn(configFile, profile) || Object.hasOwn(credentialsFile, profile);
}

/** The role of the container if one is announced, else the role of the instance. */
function ofHost(env: Environment): CredentialSource {
  const container = env['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'] || env['AWS_CONTAINER_CREDENTIALS_FULL_URI'];
  return { kind: container ? 'container' : 'instance' };
}

function environmentKeys(env: Environment): CredentialSource | null {
  return keyPair(
    'the environment',
    ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'],
    env,
    env['AWS_SESSION_TOKEN'],
    'set both variables or none',
  );
}

/** @returns null if there is no key; @throws CredentialError for half a pair */
function keyPair(
  where: string,
  [idName, secretName]: readonly [string, string],
  settings: Settings,
  sessionToken: string | undefined,
  help: string,
): CredentialSource | null {
  const [accessKeyId, secretAccessKey] = [settings[idName], settings[secretName]];
  if (!accessKeyId && !secretAccessKey) return null;
  if (!accessKeyId) throw new CredentialError(`${where} has ${secretName} but not ${idName}`, help);
  if (!secretAccessKey) throw new CredentialError(`${where} has ${idName} but not ${secretName}`, help);
  return { kind: 'keys', keys: { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) } };
}

/**
 * The source that the settings of a profile name; null if it has none.
 * @param visited the profiles whose `source_profile` led here
 */
function ofProfile(
  env: Environment,
  files: SharedFiles,
  profile: string,
  visited: readonly string[],
): CredentialSource | null {
  const settings: Settings = { ...files.configFile[profile], ...files.credentialsFile[profile] };
  const name = `profile ${JSON.stringify(profile)}`;
  const help = `correct ${name} in ${files.paths.join(' or ')}`;
  const keys = () =>
    keyPair(name, ['aws_access_key_id', 'aws_secret_access_key'], settings, settings['aws_session_token'], help);
  const { role_arn: arn, source_profile: from, credential_source: source, web_identity_token_file: file } = settings;
  // A profile may name itself as the source of its role: then its own keys are meant.
  if (visited.at(-1) === profile) return keys();
  if (visited.includes(profile)) {
    throw new CredentialError(`source_profile goes in a circle: ${[...visited, profile].join(' → ')}`, help);
  }
  if (arn && file) return webIdentity(`web_identity_token_file of ${name}`, file, arn, settings['role_session_name']);
  if (arn) {
    if (from && source) throw new CredentialError(`${name} has both source_profile and credential_source`, help);
    if (!from && !source) {
      throw new CredentialError(`${name} has role_arn but neither source_profile nor credential_source`, help);
    }
    if (settings['mfa_serial']) {
      const step = 'use a profile without mfa_serial, or put temporary keys into the environment';
      throw new CredentialError(
        `${name} needs a code of ${settings['mfa_serial']}, which rollcall cannot ask for`,
        step,
      );
    }
    const role = readRole(settings, arn, name, help);
    const outer = from
      ? sourceProfile(env, files, profile, from, visited)
      : credentialSource(env, source ?? '', name, help);
    return { kind: 'role', profile, role, source: outer };
  }
  if (settings['sso_session'] || settings['sso_start_url']) return { kind: 'sso', profile };
  const pair = keys();
  if (pair !== null) return pair;
  if (settings['credential_process'] !== undefined) {
    const command = settings['credential_process'].trim();
    if (command === '') throw new CredentialError(`credential_process of ${name} is empty`, help);
    return { kind: 'process', profile, command };
  }
  return settings['login_session'] ? { kind: 'login', profile } : null;
}

function readRole(settings: Settings, arn: string, name: string, help: string): Role {
  const duration = settings['duration_seconds'];
  if (duration !== undefined && !/^[1-9]\d{0,5}$/.test(duration)) {
    throw new CredentialError(
      `duration_seconds of ${name} is ${JSON.stringify(duration)}, not a number of seconds`,
      help,
    );
  }
  return {
    arn,
    sessionName: settings['role_session_name'] ?? null,
    externalId: settings['external_id'] ?? null,
    durationSeconds: duration === undefined ? null : Number(duration),
  };
}

function sourceProfile(
  env: Environment,
  files: SharedFiles,
  profile: string,
  from: string,
  visited: readonly string[],
): CredentialSource {
  const setting = `source_profile ${JSON.stringify(from)} of profile ${JSON.stringify(profile)}`;
  if (!hasProfile(files, from)) throw new CredentialError(`${setting} does not exist`, FILES_HELP);
  const source = ofProfile(env, files, from, [...visited, profile]);
  if (source === null) {
    const help = `give profile ${JSON.stringify(from)} keys, a role or a credential_process`;
    throw new CredentialError(`${setting} has no credentials`, help);
  }
  return source;
}

/** https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html */
function credentialSource(env: Environment, source: string, name: string, help: string): CredentialSource {
  if (source === 'Ec2InstanceMetadata') return { kind: 'instance' };
  if (source === 'EcsContainer') return { kind: 'container' };
  if (source !== 'Environment') {
    const words = 'Environment, Ec2InstanceMetadata or EcsContainer';
    throw new CredentialError(`credential_source of ${name} is ${JSON.stringify(source)}, not ${words}`, help);
  }
  const keys = environmentKeys(env);
  if (keys !== null) return keys;
  throw new CredentialError(
    `credential_source of ${name} is Environment, but AWS_ACCESS_KEY_ID is not set`,
    'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
  );
}

function webIdentity(
  setting: string,
  tokenFile: string,
  roleArn: string | undefined,
  sessionName: string | undefined,
): CredentialSource {
  if (!roleArn) throw new CredentialError(`${setting} is set but AWS_ROLE_ARN is not`, 'set both variables or none');
  return { kind: 'web-identity', setting, tokenFile, roleArn, sessionName: sessionName ?? null };
}
