import { CredentialError } from './call.ts';
import type { Environment, Settings, SharedFiles } from './config-files.ts';

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
  const keys = profile === null ? environmentKeys(env) : null;
  if (keys !== null) return keys;
  const named = profile ?? profileVariable(env);
  if (named !== null && !hasProfile(files, named)) {
    const [config, credentials] = files.paths;
    throw new CredentialError(`no profile ${JSON.stringify(named)} in ${config} or ${credentials}`, FILES_HELP);
  }
  // Beside --profile the environment's web identity does not count, no more than its keys do.
  const web = profile === null ? env : {};
  return ofProfile({ env, files, web }, named ?? 'default', []) ?? ofHost(env);
}

/** The profile that the environment names. @throws CredentialError for two names: each of the two aws CLIs takes another */
function profileVariable(env: Environment): string | null {
  const [name, other] = [env['AWS_PROFILE'] || null, env['AWS_DEFAULT_PROFILE'] || null];
  if (name !== null && other !== null && name !== other) {
    const both = `AWS_PROFILE is ${JSON.stringify(name)} and AWS_DEFAULT_PROFILE is ${JSON.stringify(other)}`;
    throw new CredentialError(both, 'unset one of them, or set --profile');
  }
  return name ?? other;
}

function hasProfile({ configFile, credentialsFile }: SharedFiles, profile: string): boolean {
  return Object.hasOwn(configFile, profile) || Object.hasOwn(credentialsFile, profile);
}

/** The role of the container if one is announced, else the role of the instance. */
function ofHost(env: Environment): CredentialSource {
  const container = env['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'] || env['AWS_CONTAINER_CREDENTIALS_FULL_URI'];
  return { kind: container ? 'container' : 'instance' };
}

/** The keys in the environment; null: none. @throws CredentialError for half a pair */
export function environmentKeys(env: Environment): CredentialSource | null {
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = env;
  const names = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'] as const;
  const token = env['AWS_SECURITY_TOKEN'] || env['AWS_SESSION_TOKEN'];
  return keyPair(names, [id, secret, token], (problem) => {
    return new CredentialError(`the environment has ${problem}`, 'set both variables or none');
  });
}

/** @returns null if there is no key; @throws what `refuse` makes of half a pair */
function keyPair(
  [idName, secretName]: readonly [string, string],
  [accessKeyId, secretAccessKey, sessionToken]: readonly (string | undefined)[],
  refuse: (problem: string) => CredentialError,
): CredentialSource | null {
  if (!accessKeyId && !secretAccessKey) return null;
  if (!accessKeyId) throw refuse(`${secretName} but not ${idName}`);
  if (!secretAccessKey) throw refuse(`${idName} but not ${secretName}`);
  return { kind: 'keys', keys: { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) } };
}

interface Given {
  readonly env: Environment;
  readonly files: SharedFiles;
  /** Where AWS_WEB_IDENTITY_TOKEN_FILE and the variables that belong to it count: `env`, or nothing. */
  readonly web: Environment;
}

const [KEY_ID, SECRET] = ['aws_access_key_id', 'aws_secret_access_key'] as const;
/** What each profile may say about its credentials. */
const CREDENTIAL_SETTINGS = [
  ...[KEY_ID, SECRET, 'role_arn', 'source_profile', 'credential_source', 'web_identity_token_file'],
  ...['credential_process', 'login_session', 'sso_session', 'sso_start_url', 'sso_account_id', 'sso_role_name'],
];

/**
 * The source that the settings of a profile name; null if it has none.
 * @param visited the profiles whose `source_profile` led here
 */
function ofProfile(given: Given, profile: string, visited: readonly string[]): CredentialSource | null {
  const { files, web } = given;
  const [inConfig, inCredentials] = [files.configFile[profile] ?? {}, files.credentialsFile[profile] ?? {}];
  const settings: Settings = { ...inConfig, ...inCredentials };
  const name = `profile ${JSON.stringify(profile)}`;
  const help = `correct ${name} in ${files.paths.join(' or ')}`;
  const empty = CREDENTIAL_SETTINGS.find((setting) => settings[setting]?.trim() === '');
  if (empty !== undefined) throw new CredentialError(`${empty} of ${name} is empty`, help);

  // A pair is taken from one file, with the token that stands beside it.
  const keysIn = (file: Settings, path: string) => {
    const token = file['aws_security_token'] || file['aws_session_token'];
    return keyPair([KEY_ID, SECRET], [file[KEY_ID], file[SECRET], token], (problem) => {
      return new CredentialError(`${name} has ${problem} in ${path}`, help);
    });
  };
  const [configPath, credentialsPath] = files.paths;
  const credentialsKeys = () => keysIn(inCredentials, credentialsPath);
  const configKeys = () => keysIn(inConfig, configPath);

  const { role_arn: arn, web_identity_token_file: tokenFile, credential_process: command } = settings;
  // A profile may name itself as the source of its role: then its own keys are meant.
  if (visited.at(-1) === profile) return credentialsKeys() ?? configKeys();
  if (visited.includes(profile)) {
    throw new CredentialError(`source_profile goes in a circle: ${[...visited, profile].join(' → ')}`, help);
  }
  // The keys of a source_profile are meant, also where it has a role of its own.
  const isKeySource = visited.length > 0 && (settings[KEY_ID] ?? settings[SECRET]) !== undefined;
  if (arn !== undefined && tokenFile === undefined && !isKeySource) {
    return ofRole(given, profile, settings, visited, help);
  }
  const webFile = web['AWS_WEB_IDENTITY_TOKEN_FILE'];
  if (webFile || tokenFile !== undefined) {
    const setting = webFile ? 'AWS_WEB_IDENTITY_TOKEN_FILE' : `web_identity_token_file of ${name}`;
    const roleArn = web['AWS_ROLE_ARN'] || arn;
    if (!roleArn) {
      const [missing, step] = webFile ? ['AWS_ROLE_ARN', 'set both variables or none'] : ['role_arn', help];
      throw new CredentialError(`${setting} is set but ${missing} is not`, step);
    }
    const sessionName = web['AWS_ROLE_SESSION_NAME'] || settings['role_session_name'] || null;
    return { kind: 'web-identity', setting, tokenFile: webFile || (tokenFile ?? ''), roleArn, sessionName };
  }
  const signOn = settings['sso_account_id'] ?? settings['sso_role_name'];
  if (signOn !== undefined) return ofSignOn(files, profile, settings);
  const stored = credentialsKeys();
  if (stored !== null) return stored;
  if (settings['login_session'] !== undefined) return { kind: 'login', profile };
  if (command !== undefined) return { kind: 'process', profile, command: command.trim() };
  const configured = configKeys();
  if (configured !== null) return configured;
  // Without an account and a role, which the error then names.
  const isSignOn = (settings['sso_session'] ?? settings['sso_start_url']) !== undefined;
  return isSignOn ? ofSignOn(files, profile, settings) : null;
}

/** The SDK reads a section that is missing all the same, and fails with a text about neither profile nor section. */
function ofSignOn({ ssoSessions, paths: [path] }: SharedFiles, profile: string, settings: Settings): CredentialSource {
  const { sso_session: session } = settings;
  if (session !== undefined && !Object.hasOwn(ssoSessions, session)) {
    const setting = `sso_session ${JSON.stringify(session)} of profile ${JSON.stringify(profile)}`;
    throw new CredentialError(`${setting} does not exist`, `correct it, or add [sso-session ${session}] to ${path}`);
  }
  return { kind: 'sso', profile };
}

/** A role that the credentials of another source assume. */
function ofRole(
  given: Given,
  profile: string,
  settings: Settings,
  visited: readonly string[],
  help: string,
): CredentialSource {
  const { role_arn: arn = '', source_profile: from, credential_source: source, mfa_serial: mfa } = settings;
  const name = `profile ${JSON.stringify(profile)}`;
  if (from && source) throw new CredentialError(`${name} has both source_profile and credential_source`, help);
  if (!from && !source) {
    throw new CredentialError(`${name} has role_arn but neither source_profile nor credential_source`, help);
  }
  if (mfa) {
    const step = 'use a profile without mfa_serial, or put temporary keys into the environment';
    throw new CredentialError(`${name} needs a code of ${mfa}, which rollcall cannot ask for`, step);
  }
  const role = readRole(settings, arn, name, help);
  const outer = from
    ? sourceProfile(given, profile, from, visited)
    : credentialSource(given.env, source ?? '', name, help);
  return { kind: 'role', profile, role, source: outer };
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
  { env, files }: Given,
  profile: string,
  from: string,
  visited: readonly string[],
): CredentialSource {
  const setting = `source_profile ${JSON.stringify(from)} of profile ${JSON.stringify(profile)}`;
  if (!hasProfile(files, from)) throw new CredentialError(`${setting} does not exist`, FILES_HELP);
  const source = ofProfile({ env, files, web: {} }, from, [...visited, profile]);
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
