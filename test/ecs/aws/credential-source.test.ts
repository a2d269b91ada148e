import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { CredentialError } from '../../../src/ecs/aws/call.ts';
import { chooseCredentialSource } from '../../../src/ecs/aws/credential-source.ts';

type Profiles = Record<string, Record<string, string>>;

const KEYS = { aws_access_key_id: 'AKIDPROFILE', aws_secret_access_key: 'secret' };
const OWN = { AWS_ACCESS_KEY_ID: 'AKIDENV', AWS_SECRET_ACCESS_KEY: 'secret' };
const ARN = 'arn:aws:iam::123456789012:role/ops';
const WEB = { AWS_WEB_IDENTITY_TOKEN_FILE: '/t', AWS_ROLE_ARN: ARN };
const ROLE = { ops: { role_arn: ARN, source_profile: 'base' }, base: KEYS };
const PROCESS = { credential_process: '/bin/creds' };

function choose(
  profile: string | null,
  env: Record<string, string>,
  configFile: Profiles,
  credentialsFile: Profiles = {},
) {
  const sections = { services: {}, ssoSessions: { corp: { sso_region: 'us-east-1' } } };
  return chooseCredentialSource(env, { configFile, credentialsFile, ...sections, paths: ['/c', '/k'] }, profile);
}

/** Key id of the chosen keys, with their token; else the kind of the source, for a role also of the one behind it. */
function brief(...args: Parameters<typeof choose>): string {
  const briefly = (source: ReturnType<typeof choose>): string => {
    if (source.kind === 'role') return `role by ${briefly(source.source)}`;
    if (source.kind !== 'keys') return source.kind;
    const { accessKeyId, sessionToken } = source.keys;
    return sessionToken === undefined ? accessKeyId : `${accessKeyId} ${sessionToken}`;
  };
  return briefly(choose(...args));
}

describe('the chosen identity is the one that both aws CLIs choose', () => {
  const cases: readonly [title: string, expected: string, ...args: Parameters<typeof choose>][] = [
    ['nothing is named: the instance', 'instance', null, {}, {}],
    ['a container announces its role', 'container', null, { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://x' }, {}],
    ['keys in the environment', 'AKIDENV', null, OWN, {}],
    ['keys in the environment outrank AWS_PROFILE', 'AKIDENV', null, { ...OWN, AWS_PROFILE: 'ops' }, { ops: KEYS }],
    ['--profile outranks the keys in the environment', 'AKIDPROFILE', 'ops', OWN, { ops: KEYS }],
    ['AWS_PROFILE', 'AKIDPROFILE', null, { AWS_PROFILE: 'ops' }, { ops: KEYS }],
    ['AWS_DEFAULT_PROFILE', 'AKIDPROFILE', null, { AWS_DEFAULT_PROFILE: 'ops' }, { ops: KEYS }],
    ['--profile outranks AWS_DEFAULT_PROFILE', 'AKIDPROFILE', 'ops', { AWS_DEFAULT_PROFILE: 'x' }, { ops: KEYS }],
    ['--profile outranks a web identity', 'AKIDPROFILE', 'ops', WEB, { ops: KEYS }],
    [
      'a web identity outranks the keys of AWS_PROFILE',
      'web-identity',
      null,
      { ...WEB, AWS_PROFILE: 'ops' },
      { ops: KEYS },
    ],
    [
      'the role of AWS_PROFILE outranks a web identity',
      'role by AKIDPROFILE',
      null,
      { ...WEB, AWS_PROFILE: 'ops' },
      ROLE,
    ],
    ['a web identity outranks the keys of the profile default', 'web-identity', null, WEB, { default: KEYS }],
    [
      'the role of the profile default outranks a web identity',
      'role by AKIDPROFILE',
      null,
      WEB,
      { default: ROLE.ops, base: KEYS },
    ],
    ['the profile default is taken without being named', 'AKIDPROFILE', null, {}, { default: KEYS }],
    [
      'a profile with a region only leaves the credentials to the host',
      'instance',
      'ops',
      {},
      { ops: { region: 'us-east-1' } },
    ],
    ['a role of a profile', 'role by AKIDPROFILE', 'ops', {}, ROLE],
    [
      'a role whose profile is its own source',
      'role by AKIDPROFILE',
      'ops',
      {},
      { ops: { role_arn: ARN, source_profile: 'ops', ...KEYS } },
    ],
    ['a role by web identity', 'web-identity', 'ops', {}, { ops: { role_arn: ARN, web_identity_token_file: '/t' } }],
    ['single sign-on', 'sso', 'ops', {}, { ops: { sso_session: 'corp' } }],
    ['a process', 'process', 'ops', {}, { ops: PROCESS }],
    ['a process outranks keys in the configuration file', 'process', 'ops', {}, { ops: { ...KEYS, ...PROCESS } }],
    ['keys in the credentials file outrank a process', 'AKIDPROFILE', 'ops', {}, { ops: PROCESS }, { ops: KEYS }],
    ['so they do for a source_profile', 'role by process', 'ops', {}, { ...ROLE, base: { ...KEYS, ...PROCESS } }],
    ['aws login outranks a process', 'login', 'ops', {}, { ops: { ...PROCESS, login_session: 'arn:x' } }],
    ['single sign-on outranks keys', 'sso', 'ops', {}, { ops: { ...KEYS, sso_account_id: '1', sso_role_name: 'r' } }],
    ['a session alone does not', 'AKIDPROFILE', 'ops', {}, { ops: { ...KEYS, sso_session: 'corp' } }],
    ['an account without its session is single sign-on', 'sso', 'ops', {}, { ops: { sso_account_id: '1' } }],
    [
      'of a source_profile with keys and a role, the keys',
      'role by AKIDPROFILE',
      'ops',
      {},
      { ...ROLE, base: { ...KEYS, role_arn: ARN, source_profile: 'other' } },
    ],
    [
      'of a source_profile with a role alone, the role',
      'role by role by instance',
      'ops',
      {},
      { ...ROLE, base: { role_arn: ARN, credential_source: 'Ec2InstanceMetadata' } },
    ],
    [
      'a token of the other file is of other keys',
      'AKIDPROFILE',
      'ops',
      {},
      { ops: { aws_session_token: 't' } },
      { ops: KEYS },
    ],
    ['the old name of a token', 'AKIDPROFILE t', 'ops', {}, {}, { ops: { ...KEYS, aws_security_token: 't' } }],
    ['the old name of a token in the environment', 'AKIDENV t', null, { ...OWN, AWS_SECURITY_TOKEN: 't' }, {}],
    [
      'empty variables are as none',
      'instance',
      null,
      { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '', AWS_PROFILE: '' },
      {},
    ],
  ];
  for (const [title, expected, ...args] of cases) test(title, () => assert.equal(brief(...args), expected));

  test('the credentials file completes the configuration file', () => {
    const config = { ops: { role_arn: ARN, source_profile: 'base', external_id: 'x', duration_seconds: '900' } };
    assert.deepEqual(choose('ops', {}, config, { base: { ...KEYS, aws_session_token: 't' } }), {
      kind: 'role',
      profile: 'ops',
      role: { arn: ARN, sessionName: null, externalId: 'x', durationSeconds: 900 },
      source: { kind: 'keys', keys: { accessKeyId: 'AKIDPROFILE', secretAccessKey: 'secret', sessionToken: 't' } },
    });
  });
});

describe('a named source without credentials is an error, never the role of the instance', () => {
  const role = { role_arn: ARN, source_profile: 'base' };
  const half = { aws_access_key_id: 'AKIDPROFILE' };
  const SECRET = { aws_secret_access_key: 'secret' };
  const cases: readonly [message: RegExp, ...args: Parameters<typeof choose>][] = [
    [/^no profile "ops" in \/c or \/k$/, 'ops', {}, {}],
    [/^no profile "ops"/, null, { AWS_PROFILE: 'ops' }, { default: KEYS }],
    [/^no profile "toString"/, 'toString', {}, {}],
    [/^the environment has AWS_ACCESS_KEY_ID but not AWS_SECRET_ACCESS_KEY$/, null, { AWS_ACCESS_KEY_ID: 'A' }, {}],
    [/^the environment has AWS_SECRET_ACCESS_KEY but not/, null, { AWS_SECRET_ACCESS_KEY: 's' }, {}],
    [/^profile "ops" has aws_access_key_id but not aws_secret_access_key in \/c$/, 'ops', {}, { ops: half }],
    [/^profile "default" has aws_access_key_id but not/, null, {}, { default: half }],
    [/^source_profile "base" of profile "ops" does not exist$/, 'ops', {}, { ops: role }],
    [/^source_profile "base" of profile "ops" has no credentials$/, 'ops', {}, { ops: role, base: {} }],
    [/^profile "base" has aws_access_key_id but not/, 'ops', {}, { ops: role, base: half }],
    [
      /^source_profile goes in a circle: ops → base → ops$/,
      'ops',
      {},
      { ops: role, base: { role_arn: ARN, source_profile: 'ops' } },
    ],
    [
      /^source_profile "ops" of profile "ops" has no credentials$/,
      'ops',
      {},
      { ops: { role_arn: ARN, source_profile: 'ops' } },
    ],
    [
      /^profile "ops" has role_arn but neither source_profile nor credential_source$/,
      'ops',
      {},
      { ops: { role_arn: ARN } },
    ],
    [
      /^profile "ops" has both source_profile and credential_source$/,
      'ops',
      {},
      { ops: { ...role, credential_source: 'Environment' }, base: KEYS },
    ],
    [
      /^credential_source of profile "ops" is "Ec2InstanceMetaData", not Environment, /,
      'ops',
      {},
      { ops: { role_arn: ARN, credential_source: 'Ec2InstanceMetaData' } },
    ],
    [
      /^credential_source of profile "ops" is Environment, but AWS_ACCESS_KEY_ID is not set$/,
      'ops',
      {},
      { ops: { role_arn: ARN, credential_source: 'Environment' } },
    ],
    [/^credential_process of profile "ops" is empty$/, 'ops', {}, { ops: { credential_process: ' ' } }],
    [
      /^profile "ops" needs a code of arn:mfa, which rollcall cannot ask for$/,
      'ops',
      {},
      { ops: { ...role, mfa_serial: 'arn:mfa' }, base: KEYS },
    ],
    [
      /^duration_seconds of profile "ops" is "an hour"/,
      'ops',
      {},
      { ops: { ...role, duration_seconds: 'an hour' }, base: KEYS },
    ],
    [/^AWS_WEB_IDENTITY_TOKEN_FILE is set but AWS_ROLE_ARN is not$/, null, { AWS_WEB_IDENTITY_TOKEN_FILE: '/t' }, {}],
    [
      /^web_identity_token_file of profile "ops" is set but role_arn is not$/,
      'ops',
      {},
      { ops: { ...KEYS, web_identity_token_file: '/t' } },
    ],
    [/has aws_access_key_id but not aws_secret_access_key in \/k$/, 'ops', {}, { ops: SECRET }, { ops: half }],
    [/has aws_secret_access_key but not aws_access_key_id in \/k$/, 'ops', {}, { ops: half }, { ops: SECRET }],
    [/^sso_session "crop" of profile "ops" does not exist$/, 'ops', {}, { ops: { sso_session: 'crop' } }],
    [
      /^sso_session "toString" of profile "ops" does not exist$/,
      'ops',
      {},
      { ops: { sso_session: 'toString', sso_account_id: '1', sso_role_name: 'r' } },
    ],
    [
      /^sso_session "crop" of profile "base" does not exist$/,
      'ops',
      {},
      { ops: role, base: { sso_session: 'crop', sso_account_id: '1' } },
    ],
    [/^aws_access_key_id of profile "ops" is empty$/, 'ops', {}, { ops: { ...KEYS, aws_access_key_id: '' } }],
    [/^source_profile of profile "ops" is empty$/, 'ops', {}, { ops: { role_arn: ARN, source_profile: '' } }],
    [/^role_arn of profile "base" is empty$/, 'ops', {}, { ops: role, base: { role_arn: '' } }],
    [
      /^AWS_PROFILE is "ops" and AWS_DEFAULT_PROFILE is "dev"$/,
      null,
      { AWS_PROFILE: 'ops', AWS_DEFAULT_PROFILE: 'dev' },
      { ops: KEYS, dev: KEYS },
    ],
  ];
  for (const [message, ...args] of cases) {
    test(`${message.source}, ${JSON.stringify(args)}`, () => {
      assert.throws(
        () => choose(...args),
        (error: CredentialError) => {
          assert.equal(error.name, 'CredentialError');
          assert.match(error.message, message);
          assert.notEqual(error.help, '');
          return true;
        },
      );
    });
  }
});
