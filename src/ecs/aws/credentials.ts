import { readFile } from 'node:fs/promises';
import type { Clock } from '../../lib/clock.ts';
import { DeadlineError, withDeadline } from '../../lib/deadline.ts';
import { describeError, firstLine } from '../../lib/errors.ts';
import { runCommand } from '../../lib/run-command.ts';
import { CredentialError, collectAnswer, type Sdk } from './call.ts';
import { type Environment, readConfigFiles } from './config-files.ts';
import { type CredentialSource, chooseCredentialSource, environmentKeys, type Keys } from './credential-source.ts';
import { ignoresEndpoints } from './endpoint.ts';

interface Credentials extends Keys {
  readonly expiration?: Date;
}

/** Limit of one run of a `credential_process`: less than the limit of the whole call, so that the error names the process. */
const PROCESS_TIMEOUT_MS = 30_000;
/** Limit of the whole search. The SDK shares one pending search among all calls, so one that hangs would stop them all. */
const CREDENTIALS_TIMEOUT_MS = 45_000;
const MAX_PROCESS_BYTES = 64 * 1_024;

interface CredentialDeps {
  readonly sdk: Sdk;
  readonly clock: Clock;
  readonly env: Environment;
  /** Limits and proxies of each request to STS, as the SDK's request handler takes them. */
  readonly requestHandler: Readonly<Record<string, number | boolean | object>>;
  /** null: AWS's own. */
  readonly stsEndpoint: string | null;
  /** The region of STS, for a role; null until it is known. */
  readonly region: () => string | null;
}

/** Reads the credentials anew: the files may change while an agent runs. @throws CredentialError */
export async function readCredentials(deps: CredentialDeps, profile: string | null): Promise<Credentials> {
  const { env } = deps;
  // Keys in the environment are the whole answer, so that a file that cannot be read is no failure then.
  const keys = profile === null ? environmentKeys(env) : null;
  const source = keys ?? chooseCredentialSource(env, await readConfigFiles(env), profile);
  try {
    const { signal } = new AbortController();
    return await withDeadline(deps.clock, CREDENTIALS_TIMEOUT_MS, signal, 'credentials', () =>
      fromSource(deps, source),
    );
  } catch (error) {
    if (!(error instanceof DeadlineError)) throw error;
    const what = `no credentials within ${CREDENTIALS_TIMEOUT_MS / 1_000} s from the source ${source.kind}`;
    throw new CredentialError(what, 'check whether that source answers', true);
  }
}

function fromSource(deps: CredentialDeps, source: CredentialSource): Promise<Credentials> {
  switch (source.kind) {
    case 'keys':
      return Promise.resolve(source.keys);
    case 'process':
      return fromProcess(deps, source);
    case 'role':
      return fromRole(deps, source);
    case 'web-identity':
      return fromWebIdentity(deps, source);
    case 'sso':
      return fromLogIn(deps, source.profile, 'sso', deps.sdk.fromSSO);
    case 'login':
      return fromLogIn(deps, source.profile, 'login', deps.sdk.fromLoginCredentials);
    case 'container':
      return fromContainer(deps);
    case 'instance':
      return fromInstance(deps);
  }
}

/** https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html */
async function fromProcess(
  { clock, env }: CredentialDeps,
  { profile, command }: { readonly profile: string; readonly command: string },
): Promise<Credentials> {
  const what = `credential_process of profile ${JSON.stringify(profile)}`;
  // Without the command: it may hold a secret, and this text goes to logs and to the store.
  const help = 'run the command of that setting by hand';
  const fail = (why: string, retryable = false) => new CredentialError(`${what} ${why}`, help, retryable);
  const { signal } = new AbortController();
  const run = await runCommand({
    argv: ['sh', '-c', command],
    env,
    timeoutMs: PROCESS_TIMEOUT_MS,
    maxOutputBytes: MAX_PROCESS_BYTES,
    output: 'separate',
    clock,
    signal,
  }).catch((error) => {
    throw fail(`cannot run: ${describeError(error)}`);
  });
  if (run.timedOut) throw fail(`gave no answer within ${PROCESS_TIMEOUT_MS / 1_000} s`, true);
  const said = firstLine(run.errors);
  if (run.status !== 0) {
    throw fail(
      `ended with ${run.status === null ? run.signal : `status ${run.status}`}${said === '' ? '' : `: ${said}`}`,
    );
  }
  if (run.truncated) throw fail(`printed more than ${MAX_PROCESS_BYTES / 1_024} KiB`);
  return parseProcessAnswer(run.output, clock.wallMs(), fail);
}

function parseProcessAnswer(output: string, nowMs: number, fail: (why: string) => CredentialError): Credentials {
  let answer: Readonly<Record<string, unknown>> | null;
  try {
    answer = JSON.parse(output);
  } catch {
    throw fail('printed something that is not JSON');
  }
  const text = (name: string) => {
    const value = answer?.[name];
    return typeof value === 'string' && value !== '' ? value : null;
  };
  if (answer?.['Version'] !== 1) throw fail('printed no "Version": 1');
  const [accessKeyId, secretAccessKey] = [text('AccessKeyId'), text('SecretAccessKey')];
  if (accessKeyId === null || secretAccessKey === null) throw fail('printed no AccessKeyId with a SecretAccessKey');
  const [token, expires] = [text('SessionToken'), text('Expiration')];
  const expiration = expires === null ? null : new Date(expires);
  if (expiration !== null && Number.isNaN(expiration.getTime())) throw fail('printed an Expiration that is not a date');
  if (expiration !== null && expiration.getTime() <= nowMs) {
    throw fail(`printed credentials that expired at ${expiration.toISOString()}`);
  }
  return {
    accessKeyId,
    secretAccessKey,
    ...(token === null ? {} : { sessionToken: token }),
    ...(expiration === null ? {} : { expiration }),
  };
}

async function fromRole(
  deps: CredentialDeps,
  { profile, role, source }: Extract<CredentialSource, { kind: 'role' }>,
): Promise<Credentials> {
  const masterCredentials = await fromSource(deps, source);
  const region = deps.region();
  const provider = deps.sdk.fromTemporaryCredentials({
    masterCredentials,
    params: {
      RoleArn: role.arn,
      RoleSessionName: role.sessionName ?? 'rollcall',
      ...(role.externalId === null ? {} : { ExternalId: role.externalId }),
      ...(role.durationSeconds === null ? {} : { DurationSeconds: role.durationSeconds }),
    },
    clientConfig: { ...stsClient(deps), ...(region === null ? {} : { region }) },
  });
  return provider().catch((error) => {
    throw stsError(`sts:AssumeRole of ${role.arn} for profile ${JSON.stringify(profile)}`, error);
  });
}

async function fromWebIdentity(
  deps: CredentialDeps,
  { setting, tokenFile, roleArn, sessionName }: Extract<CredentialSource, { kind: 'web-identity' }>,
): Promise<Credentials> {
  const webIdentityToken = await readFile(tokenFile, 'utf8').catch((error) => {
    throw new CredentialError(
      `cannot read ${setting} ${tokenFile}: ${describeError(error)}`,
      'check the path and its permissions',
    );
  });
  const region = deps.region();
  const provider = deps.sdk.fromWebToken({
    webIdentityToken: webIdentityToken.trim(),
    roleArn,
    roleSessionName: sessionName ?? 'rollcall',
    clientConfig: { ...stsClient(deps), ...(region === null ? {} : { region }) },
  });
  return provider().catch((error) => {
    throw stsError(`sts:AssumeRoleWithWebIdentity of ${roleArn}`, error);
  });
}

/** IAM Identity Center and `aws login` keep a token in a file, which expires. */
async function fromLogIn(
  { env, requestHandler }: CredentialDeps,
  profile: string,
  command: 'sso' | 'login',
  from: Sdk['fromSSO'] | Sdk['fromLoginCredentials'],
): Promise<Credentials> {
  const clientConfig = { requestHandler, ...(ignoresEndpoints(env, {}) ? { ignoreConfiguredEndpointUrls: true } : {}) };
  return from({ profile, clientConfig })().catch((error) => {
    const logIn = `aws ${command === 'sso' ? 'sso login' : 'login'} --profile ${profile}`;
    const help = `log in again: ${logIn}; if that does not help, check the network to AWS and HTTPS_PROXY`;
    throw new CredentialError(`profile ${JSON.stringify(profile)}: ${firstLine(error)}`, help);
  });
}

async function fromContainer({ sdk, env }: CredentialDeps): Promise<Credentials> {
  const name = 'AWS_CONTAINER_CREDENTIALS_';
  const uri = env[`${name}RELATIVE_URI`] || env[`${name}FULL_URI`];
  if (!uri) {
    throw new CredentialError(
      `no container role: neither ${name}RELATIVE_URI nor ${name}FULL_URI is set`,
      'ECS sets one in a task that has a task role',
    );
  }
  return sdk
    .fromHttp({ maxRetries: 1, timeout: 3_000 })()
    .catch((error) => {
      const help = `check the task role, and ${name}RELATIVE_URI or ${name}FULL_URI`;
      throw new CredentialError(`no credentials from the container’s role at ${uri}: ${firstLine(error)}`, help, true);
    });
}

async function fromInstance({ sdk, env }: CredentialDeps): Promise<Credentials> {
  const help =
    'set --profile or AWS_ACCESS_KEY_ID, or give the instance a role; in a bridged container the role needs --net=host or an IMDSv2 hop limit of 2';
  const none = 'no credentials: looked in the environment, the profile, the container’s role';
  if (env['AWS_EC2_METADATA_DISABLED']?.toLowerCase() === 'true') {
    throw new CredentialError(`${none}; the instance’s role is switched off by AWS_EC2_METADATA_DISABLED`, help);
  }
  return sdk
    .fromInstanceMetadata({ maxRetries: 1, timeout: 3_000 })()
    .catch((error) => {
      throw new CredentialError(`${none}, the instance’s role (${firstLine(error)})`, help, true);
    });
}

/** Limits of the requests to STS, in time and in size, and where they go. */
function stsClient({ requestHandler, stsEndpoint }: CredentialDeps) {
  // The SDK would look for an endpoint, too, and does not understand every way to say that none is wanted.
  const endpoint = { ignoreConfiguredEndpointUrls: true, ...(stsEndpoint === null ? {} : { endpoint: stsEndpoint }) };
  return { requestHandler, streamCollector: collectAnswer, maxAttempts: 2, ...endpoint };
}

/** STS refused, or did not answer: a word about ECS’s endpoint or IAM for ECS would mislead. */
function stsError(action: string, error: unknown): CredentialError {
  const {
    name = 'Unknown',
    code = '',
    $metadata,
  } = error as {
    readonly name?: string;
    readonly code?: string;
    readonly $metadata?: { readonly httpStatusCode?: number };
  };
  const status = $metadata?.httpStatusCode;
  if (status === undefined || code !== '' || name === 'TimeoutError') {
    const why = `no answer from STS: ${firstLine(error) || code || name}`;
    return new CredentialError(
      `${action}: ${why}`,
      'check the network to STS, --region, AWS_ENDPOINT_URL_STS and HTTPS_PROXY',
      true,
    );
  }
  const help = /^(AccessDenied|AccessDeniedException)$/.test(name)
    ? 'let the role’s trust policy name the caller, and allow the caller sts:AssumeRole'
    : /Expired/.test(name)
      ? 'renew the token or keys that the role is assumed with'
      : 'check the role’s ARN and the keys that it is assumed with';
  return new CredentialError(`${action}: ${name}: ${firstLine(error)}`, help, status >= 500 || status === 429);
}
