import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type EcsEndpoint, ecsOf, startEcsEndpoint } from '../support/ecs-endpoint.ts';
import { rollcall } from '../support/rollcall-process.ts';

const KEYS = {
  AccessKeyId: 'AKIDROLE',
  SecretAccessKey: 'secret',
  Token: 'session',
  Expiration: '2099-01-01T00:00:00Z',
};
const NO_FILES = { AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null' };
const NO_IMDS = { AWS_EC2_METADATA_DISABLED: 'true' };

/** ECS, EC2's metadata service (v2 only) and a container's credentials in one; `role` null: the instance has none. */
function aws(role: string | null): EcsEndpoint['answer'] {
  const ecs = ecsOf({ demo: 1 });
  const text =
    (body: string, status = 200) =>
    (response: Parameters<Extract<ReturnType<EcsEndpoint['answer']>, (r: never) => void>>[0]) =>
      void response.writeHead(status).end(body);
  return (request) => {
    if (!request.action.includes(' ')) return ecs(request);
    if (request.action === 'PUT /latest/api/token') return text('the-token');
    if (request.action === 'GET /container') return request.headers.authorization === 'let me' ? KEYS : text('', 403);
    if (request.headers['x-aws-ec2-metadata-token'] !== 'the-token') return text('', 401);
    if (request.action === 'GET /latest/meta-data/placement/region') return text('ap-southeast-2');
    const roles = '/latest/meta-data/iam/security-credentials/';
    if (role !== null && request.action === `GET ${roles}`) return text(role);
    if (role !== null && request.action === `GET ${roles}${role}`) return { Code: 'Success', ...KEYS };
    return text('', 404);
  };
}

/** Key id and region that the list of a cluster is signed with, in this environment; or what was complained of. */
async function signedWith(
  t: TestContext,
  role: string | null,
  env: (url: string) => Record<string, string>,
  args: string[] = [],
) {
  const { url, requests } = await startEcsEndpoint(t, aws(role));
  const all = { AWS_ENDPOINT_URL_ECS: url, ...NO_FILES, ...env(url) };
  const { code, stderr } = await rollcall(['list', '--source', 'ecs', '--cluster', 'demo', ...args], all);
  const signed = requests.find(({ action }) => action === 'ListContainerInstances')?.headers.authorization;
  const [, key, region] = /Credential=(\w+)\/\d+\/([a-z0-9-]+)\//.exec(signed ?? '') ?? [];
  assert.equal(code, key === undefined ? 1 : 0, stderr);
  return key === undefined ? stderr : `${key} ${region}`;
}

const own = { AWS_ACCESS_KEY_ID: 'AKIDENV', AWS_SECRET_ACCESS_KEY: 'secret', ...NO_IMDS };

test('keys come from the environment; the region from the flag, AWS_REGION, AWS_DEFAULT_REGION, in this order', async (t) => {
  const regions = { AWS_REGION: 'eu-west-1', AWS_DEFAULT_REGION: 'eu-west-2' };
  assert.equal(
    await signedWith(t, null, () => ({ ...own, ...regions }), ['--region', 'eu-west-3']),
    'AKIDENV eu-west-3',
  );
  assert.equal(await signedWith(t, null, () => ({ ...own, ...regions })), 'AKIDENV eu-west-1');
  assert.equal(await signedWith(t, null, () => ({ ...own, ...regions, AWS_REGION: '' })), 'AKIDENV eu-west-2');
  assert.match(await signedWith(t, null, () => own), /: no region; set --region, AWS_REGION/);
});

test('AWS_ENDPOINT_URL works like AWS_ENDPOINT_URL_ECS', async (t) => {
  const env = (url: string) => ({ ...own, AWS_REGION: 'eu-west-1', AWS_ENDPOINT_URL: url, AWS_ENDPOINT_URL_ECS: '' });
  assert.equal(await signedWith(t, null, env), 'AKIDENV eu-west-1');
});

test('keys and region come from a profile, by flag or AWS_PROFILE, without a warning about the environment’s keys', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-aws-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const profile = '[profile ops]\nregion = sa-east-1\naws_access_key_id = AKIDOPS\naws_secret_access_key = secret\n';
  const odd = '[profile odd]\nREGION: sa-east-1\nAWS_ACCESS_KEY_ID: AKIDODD\nAWS_SECRET_ACCESS_KEY: secret\n';
  await writeFile(join(dir, 'config'), profile + odd);
  const files = { ...NO_IMDS, AWS_CONFIG_FILE: join(dir, 'config') };
  assert.equal(await signedWith(t, null, () => files, ['--profile', 'ops']), 'AKIDOPS sa-east-1');
  assert.equal(await signedWith(t, null, () => ({ ...files, AWS_PROFILE: 'ops' })), 'AKIDOPS sa-east-1');
  assert.equal(await signedWith(t, null, () => ({ ...files, AWS_PROFILE: 'odd' })), 'AKIDODD sa-east-1');
  assert.equal(await signedWith(t, null, () => ({ ...files, AWS_DEFAULT_PROFILE: 'ops' })), 'AKIDOPS sa-east-1');
  const { url } = await startEcsEndpoint(t, aws(null));
  const both = { ...own, ...files, AWS_ENDPOINT_URL_ECS: url };
  const { stderr } = await rollcall(['list', '--source', 'ecs', '--cluster', 'demo', '--profile', 'ops'], both);
  assert.equal(stderr, '');
});

test('a container’s role', async (t) => {
  const container = { AWS_CONTAINER_AUTHORIZATION_TOKEN: 'let me', AWS_REGION: 'eu-west-1', ...NO_IMDS };
  const env = (url: string) => ({ ...container, AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/container` });
  assert.equal(await signedWith(t, null, env), 'AKIDROLE eu-west-1');
});

test('an instance’s role and region, over IMDSv2', async (t) => {
  const env = (url: string) => ({ AWS_EC2_METADATA_SERVICE_ENDPOINT: url });
  assert.equal(await signedWith(t, 'node-role', env), 'AKIDROLE ap-southeast-2');
});

test('without any credentials the error says where they were searched and what to set', async (t) => {
  const env = (url: string) => ({ AWS_EC2_METADATA_SERVICE_ENDPOINT: url });
  const complaint = await signedWith(t, null, env);
  assert.match(
    complaint,
    /in ap-southeast-2: no credentials: looked in the environment, the profile, .*hop limit of 2/,
  );
});

/** A profile file beside an instance that would serve a role; the answer is a complaint, never that role. */
async function refused(t: TestContext, config: string, env: Record<string, string> = {}): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-aws-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, 'config'), config);
  const answer = await signedWith(t, 'node-role', (url) => ({
    AWS_EC2_METADATA_SERVICE_ENDPOINT: url,
    AWS_REGION: 'eu-west-1',
    AWS_CONFIG_FILE: join(dir, 'config'),
    AWS_PROFILE: 'ops',
    ...env,
  }));
  assert.doesNotMatch(answer, /^AKIDROLE/);
  assert.match(answer, /^rollcall list: [^\n]+\n$/);
  return answer;
}

const role = '[profile ops]\nrole_arn = arn:aws:iam::123456789012:role/ops\nsource_profile = base\n[profile base]\n';

test('a credential_process that gives no credentials: profile, setting, status and its own words', async (t) => {
  const process = (command: string) => refused(t, `[profile ops]\ncredential_process = ${command}\n`);
  const what = 'credential_process of profile "ops"';
  const cases: readonly [command: string, why: string][] = [
    ['', `${what} is empty`],
    ["sh -c 'echo not logged in >&2; exit 7'", `${what} ended with status 7: not logged in`],
    ['head -c 70000 /dev/zero', `${what} printed more than 64 KiB`],
    ['echo junk', `${what} printed something that is not JSON`],
    ['/no/such/program', `${what} ended with status 127: sh: 1: /no/such/program: not found`],
    [`printf '{"Version":1,"AccessKeyId":"AKIDX"}'`, `${what} printed no AccessKeyId with a SecretAccessKey`],
    [`printf '{"Version":2}'`, `${what} printed no "Version": 1`],
    [
      `printf '{"Version":1,"AccessKeyId":"AKIDX","SecretAccessKey":"s","Expiration":"2020-01-01T00:00:00Z"}'`,
      `${what} printed credentials that expired at 2020-01-01T00:00:00.000Z`,
    ],
  ];
  for (const [command, why] of cases) {
    const answer = await process(command);
    assert.ok(answer.includes(why), answer);
    assert.doesNotMatch(answer, /AWS_ENDPOINT_URL_ECS|hop limit/);
    assert.ok(!/no\/such\/program;|printf|echo/.test(answer), 'the command may hold a secret');
  }
});

test('a credential_process that works signs, and may warn on stderr', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-aws-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const json = '{"Version":1,"AccessKeyId":"AKIDPROC","SecretAccessKey":"s"}';
  const command = `sh -c 'echo old version >&2; echo "$0"' '${json}'`;
  await writeFile(join(dir, 'config'), `[profile ops]\nregion = eu-west-1\ncredential_process = ${command}\n`);
  const env = { AWS_CONFIG_FILE: join(dir, 'config'), AWS_PROFILE: 'ops', ...NO_IMDS };
  assert.equal(await signedWith(t, null, () => env), 'AKIDPROC eu-west-1');
});

test('half a pair of keys in the environment is refused, whatever role the instance has', async (t) => {
  const env = { AWS_PROFILE: '', AWS_ACCESS_KEY_ID: 'AKIDHALF' };
  assert.match(
    await refused(t, '', env),
    /the environment has AWS_ACCESS_KEY_ID but not AWS_SECRET_ACCESS_KEY; set both/,
  );
});

test('keys of the environment outrank AWS_PROFILE, as in the aws CLI', async (t) => {
  assert.equal(
    await signedWith(t, null, () => ({ ...own, AWS_REGION: 'eu-west-1', AWS_PROFILE: 'no-such' })),
    'AKIDENV eu-west-1',
  );
});

test('a role that STS refuses, and an STS that is away, are named as such', async (t) => {
  const keys = 'aws_access_key_id = AKIDBASE\naws_secret_access_key = secret\n';
  const sts = await startEcsEndpoint(t, () => (response) => {
    const error =
      '<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: x is not authorized</Message></Error>';
    response.writeHead(403, { 'content-type': 'text/xml' });
    response.end(`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${error}</ErrorResponse>`);
  });
  assert.match(
    await refused(t, role + keys, { AWS_ENDPOINT_URL_STS: sts.url }),
    /sts:AssumeRole of arn:aws:iam::123456789012:role\/ops for profile "ops": AccessDenied: User: x is not authorized; let the role’s trust policy/,
  );
  assert.match(
    await refused(t, role + keys, { AWS_ENDPOINT_URL_STS: 'http://127.0.0.1:9' }),
    /sts:AssumeRole of \S+ for profile "ops": no answer from STS: .*; check the network to STS, --region, AWS_ENDPOINT_URL_STS and HTTPS_PROXY/,
  );
});

test('a metadata service that is switched off is not asked, however the word is written', async (t) => {
  const env = { AWS_PROFILE: '', AWS_EC2_METADATA_DISABLED: 'True' };
  assert.match(await refused(t, '', env), /the instance’s role is switched off by AWS_EC2_METADATA_DISABLED/);
});

test('a token file that is missing is named with its setting', async (t) => {
  const env = {
    AWS_PROFILE: '',
    AWS_WEB_IDENTITY_TOKEN_FILE: '/no/such/token',
    AWS_ROLE_ARN: 'arn:aws:iam::1:role/web',
  };
  assert.match(
    await refused(t, '', env),
    /cannot read AWS_WEB_IDENTITY_TOKEN_FILE \/no\/such\/token: ENOENT: no such file/,
  );
});
