import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { CredentialError, type Sdk } from '../../../src/ecs/aws/call.ts';
import { readCredentials } from '../../../src/ecs/aws/credentials.ts';
import { scaledClock } from '../../support/scaled-clock.ts';

const ARN = 'arn:aws:iam::123456789012:role/ops';
const INSTANCE = { accessKeyId: 'AKIDNODE', secretAccessKey: 'secret' };

const fails = (error: unknown) => () => () => Promise.reject(error);
const hangs = () => () => new Promise<never>(() => {});
/** As the SDK reports it: the service answered with that error. */
const refusal = (name: string, message: string) =>
  Object.assign(new Error(message), { name, $metadata: { httpStatusCode: 403 } });

function depsOf(env: Readonly<Record<string, string>>, sdk: Partial<Record<keyof Sdk, unknown>>, speed = 1) {
  const instance = { fromInstanceMetadata: () => async () => INSTANCE };
  return {
    sdk: { ...instance, ...sdk } as unknown as Sdk,
    clock: scaledClock(speed),
    env: { PATH: process.env['PATH'], AWS_SHARED_CREDENTIALS_FILE: '/dev/null', ...env },
    requestHandler: {},
    stsEndpoint: null,
    region: () => 'eu-west-1',
  };
}

/** On an instance that serves a role: what is thrown all the same, as the message and the next step. */
async function refused(
  t: TestContext,
  config: string,
  env: Readonly<Record<string, string>> = {},
  sdk: Partial<Record<keyof Sdk, unknown>> = {},
  speed?: number,
): Promise<readonly [message: string, help: string, retryable: boolean]> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-credentials-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, 'config'), config);
  const deps = depsOf({ AWS_CONFIG_FILE: join(dir, 'config'), ...env }, sdk, speed);
  const thrown = await readCredentials(deps, null).then(
    (keys) => assert.fail(`signed as ${keys.accessKeyId}`),
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof CredentialError, String(thrown));
  return [thrown.message, thrown.help, thrown.retryable];
}

const ROLE = `[default]\nrole_arn = ${ARN}\n`;
const BY_KEYS = `${ROLE}source_profile = base\n[profile base]\naws_access_key_id = A\naws_secret_access_key = s\n`;
const HUNG = 'credential_process = sleep 600\n';
const BY_HAND = 'run the command of that setting by hand';

test('a credential_process that hangs is ended and named, also where it is the source of a role', async (t) => {
  // The limit of the process is 15 s before that of the whole search.
  const slow = [{}, {}, 5] as const;
  const late = (profile: string) => `credential_process of profile "${profile}" gave no answer within 30 s`;
  assert.deepEqual(await refused(t, `[default]\n${HUNG}`, ...slow), [late('default'), BY_HAND, true]);
  const source = `${ROLE}source_profile = base\n[profile base]\n${HUNG}`;
  assert.deepEqual(await refused(t, source, ...slow), [late('base'), BY_HAND, true]);
});

test('a source that hangs is named after 45 s', async (t) => {
  const env = { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1/x' };
  const late = (kind: string) => `no credentials within 45 s from the source ${kind}`;
  const help = 'check whether that source answers';
  assert.deepEqual(await refused(t, '', env, { fromHttp: hangs }, 200), [late('container'), help, true]);
  assert.deepEqual(await refused(t, BY_KEYS, {}, { fromTemporaryCredentials: hangs }, 200), [late('role'), help, true]);
});

test('the role of a container that is named and not there is not replaced by that of the instance', async (t) => {
  const [none, where] = await refused(t, `${ROLE}credential_source = EcsContainer\n`);
  assert.match(none, /^no container role: neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor \S+_FULL_URI is set$/);
  assert.match(where, /^ECS sets one in a task/);
  const env = { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1/x' };
  const [message, help] = await refused(t, '', env, { fromHttp: fails(new Error('HTTP 403')) });
  assert.equal(message, 'no credentials from the container’s role at http://127.0.0.1/x: HTTP 403');
  assert.match(help, /^check the task role, /);
});

test('a token of single sign-on or aws login that has expired says how to log in again', async (t) => {
  const session = '[sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.example\n';
  const sso = `[profile corp]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = ops\n${session}`;
  const own = '[profile own]\nlogin_session = arn:aws:iam::123456789012:user/me\n';
  for (const [profile, config, command] of [
    ['corp', sso, 'aws sso login --profile corp'],
    ['own', own, 'aws login --profile own'],
  ] as const) {
    const expired = fails(new Error('The token has expired.\nTo refresh it, call the API.'));
    const sdk = { fromSSO: expired, fromLoginCredentials: expired };
    const [message, help] = await refused(t, config, { AWS_PROFILE: profile }, sdk);
    assert.equal(message, `profile "${profile}": The token has expired`);
    assert.ok(help.startsWith(`log in again: ${command}; `), help);
  }
});

test('what STS refuses has a remedy of its own', async (t) => {
  const token = join(await mkdtemp(join(tmpdir(), 'rollcall-token-')), 'token');
  t.after(() => rm(join(token, '..'), { recursive: true, force: true }));
  await writeFile(token, 'jwt');
  const web = { AWS_WEB_IDENTITY_TOKEN_FILE: token, AWS_ROLE_ARN: ARN };
  const expired = { fromWebToken: fails(refusal('ExpiredTokenException', 'Token expired')) };
  assert.deepEqual(await refused(t, '', web, expired), [
    `sts:AssumeRoleWithWebIdentity of ${ARN}: ExpiredTokenException: Token expired`,
    'renew the token or keys that the role is assumed with',
    false,
  ]);
  const other = { fromTemporaryCredentials: fails(refusal('ValidationError', 'bad ARN')) };
  assert.deepEqual(await refused(t, BY_KEYS, {}, other), [
    `sts:AssumeRole of ${ARN} for profile "default": ValidationError: bad ARN`,
    'check the role’s ARN and the keys that it is assumed with',
    false,
  ]);
});

test('keys in the environment need no file: one that cannot be read fails only without them', async () => {
  const own = { AWS_ACCESS_KEY_ID: 'AKIDENV', AWS_SECRET_ACCESS_KEY: 'secret' };
  const unreadable = { AWS_CONFIG_FILE: tmpdir(), AWS_PROFILE: 'ops' };
  const source = await readCredentials(depsOf({ ...own, ...unreadable }, {}), null);
  assert.equal(source.accessKeyId, 'AKIDENV');
  await assert.rejects(readCredentials(depsOf(unreadable, {}), null), /^CredentialError: cannot read /);
  await assert.rejects(readCredentials(depsOf({ ...own, ...unreadable }, {}), 'ops'), /^CredentialError: cannot read /);
});
