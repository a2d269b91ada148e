import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { arnOf, ecsFailure, ecsOf, sampleContainerInstance, startEcsEndpoint } from '../support/ecs-endpoint.ts';
import { rollcall } from '../support/rollcall-process.ts';

// The first run of a checkout builds, and says so.
before(() => rollcall(['--version']));

/** An environment in which the SDK finds nothing but what a test gives it. */
const AWS = {
  AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
  AWS_SECRET_ACCESS_KEY: 'secret',
  AWS_REGION: 'us-east-1',
  AWS_CONFIG_FILE: '/dev/null',
  AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  AWS_EC2_METADATA_DISABLED: 'true',
};

test('a cluster of several pages is listed as a table and as JSON, without a store', async (t) => {
  const { url, requests } = await startEcsEndpoint(t, ecsOf({ demo: 203, other: 1 }));
  const env = { ...AWS, AWS_ENDPOINT_URL_ECS: url, ROLLCALL_STORE: 'etcd://127.0.0.1:1', ROLLCALL_SOURCE: 'ecs' };
  const list = (...args: string[]) => rollcall(['list', ...args], env);

  const table = await list('--cluster', 'demo');
  assert.deepEqual([table.stderr, table.code], ['', 0]);
  const lines = table.stdout.trimEnd().split('\n');
  assert.equal(lines.length, 204);
  assert.match(lines[0] ?? '', /^INSTANCE {4}STATUS {2}AGENT CONNECTED {2}CONTAINER INSTANCE ARN$/);
  assert.equal(lines[1], `i-00000000  ACTIVE  true             ${arnOf('demo', 0)}`);
  const asked = requests.map(({ action }) => action).join(' ');
  assert.equal(asked, `${'ListContainerInstances '.repeat(3)}${'DescribeContainerInstances '.repeat(3)}`.trim());

  const loop = await list('--cluster', 'demo', '--fields=ip,instance,arn', '--no-legend');
  assert.match(loop.stdout, new RegExp(`^-  i-00000000  ${arnOf('demo', 0)}\n`));

  const json = JSON.parse(
    (await list('--cluster', arnOf('demo', 0).replace(/container-instance.*/, 'cluster/demo'), '-o', 'json')).stdout,
  );
  assert.equal(json.containerInstances.length, 203);
  const { versionInfo, remainingResources, ...instance } = json.containerInstances[1];
  assert.deepEqual([instance.ec2InstanceId, instance.containerInstanceArn], ['i-00000001', arnOf('demo', 1)]);
  assert.deepEqual([instance.status, instance.agentConnected, instance.cluster], ['ACTIVE', true, 'demo']);
  assert.equal(versionInfo.agentVersion, '1.70.0');
  assert.deepEqual(remainingResources[0], { name: 'CPU', type: 'INTEGER', integerValue: 1_024 });

  const both = await list('--cluster', 'demo,other', '--no-legend');
  assert.equal(both.stdout.trimEnd().split('\n').length, 204);
  assert.match(both.stdout, /^i-\w+ +ACTIVE +true +other +arn:/m);
  assert.equal((await list('--cluster', 'demo', '--cluster', 'other', '--no-legend')).stdout, both.stdout);
  const all = await list('--all-clusters', '-o', 'ndjson');
  const clusters = all.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).cluster);
  assert.deepEqual([clusters.length, clusters.at(-1)], [204, 'other']);
  assert.match((await list('--all-clusters')).stdout, /AGENT CONNECTED {2}CLUSTER {2}CONTAINER/);
  assert.match(
    (await list('--cluster', 'other', '-o', 'wide')).stdout,
    /ACTIVE {2}true .* us-east-1a .* 1024\/2048 {2}2000\/3884 /,
  );
});

test('no text that other programs wrote reaches a terminal as it is, not in JSON either', async (t) => {
  const value = '\u009b2J\u202e\u001b]0;x\u0007';
  const instance = sampleContainerInstance('demo', 1, { attributes: [{ name: 'note', value }] });
  const endpoint = await startEcsEndpoint(t, ({ action }) =>
    action === 'ListContainerInstances'
      ? { containerInstanceArns: [arnOf('demo', 1)] }
      : { containerInstances: [instance], failures: [] },
  );
  const env = { ...AWS, AWS_ENDPOINT_URL_ECS: endpoint.url };
  for (const format of ['json', 'ndjson']) {
    const { stdout } = await rollcall(['list', '--source', 'ecs', '--cluster', 'demo', '-o', format], env);
    assert.doesNotMatch(stdout.replaceAll('\n', ''), /[\p{Cc}\p{Bidi_Control}]/u, format);
    const answer = JSON.parse(stdout);
    const [{ attributes }] = answer.containerInstances ?? [answer];
    assert.deepEqual(attributes.at(-1), { name: 'note', value });
  }
});

test('an instance deleted during the list is left out, and an empty cluster gives a line on stderr', async (t) => {
  const endpoint = await startEcsEndpoint(t, ({ action, input }) =>
    action === 'ListContainerInstances'
      ? { containerInstanceArns: [arnOf('demo', 1), arnOf('demo', 2)] }
      : {
          containerInstances: [sampleContainerInstance('demo', 2, { status: 'DRAINING', agentConnected: false })],
          failures: [{ arn: input.containerInstances[0], reason: 'MISSING' }],
        },
  );
  const env = { ...AWS, AWS_ENDPOINT_URL_ECS: endpoint.url };
  const args = ['list', '--source', 'ecs', '--cluster', 'demo'];
  assert.equal(
    (await rollcall([...args, '--no-legend'], env)).stdout,
    `i-00000002  DRAINING  false  ${arnOf('demo', 2)}\n`,
  );
  const away = { arn: arnOf('demo', 1).replace('/demo/', '/'), reason: 'SHARD_AWAY' };
  endpoint.answer = ({ action }) =>
    action === 'ListContainerInstances'
      ? { containerInstanceArns: [arnOf('demo', 1)] }
      : { containerInstances: [], failures: [away] };
  const told = `ECS does not describe ${arnOf('demo', 1)}: SHARD_AWAY; it counts as missing\n`;
  assert.ok((await rollcall(args, env)).stderr.startsWith(told));
  assert.ok(!(await rollcall([...args, '--log-level', 'error'], env)).stderr.includes('SHARD_AWAY'));
  endpoint.answer = () => ({ containerInstanceArns: [] });
  const none = await rollcall(args, env);
  assert.deepEqual(
    [none.code, none.stderr],
    [0, `no container instance in demo (ECS in us-east-1 at ${endpoint.url})\n`],
  );
});

test('flags that do not fit the source give one line and status 2, without a request', async (t) => {
  const { url, requests } = await startEcsEndpoint(t, ecsOf({ demo: 1 }));
  const complains = async (args: readonly string[], pattern: RegExp, extra: Record<string, string> = {}) => {
    const { code, stderr, stdout } = await rollcall(['list', ...args], { ...AWS, AWS_ENDPOINT_URL_ECS: url, ...extra });
    assert.match(stderr, pattern);
    assert.deepEqual([code, stdout, stderr.split('\n').length], [2, '', 2], stderr);
  };
  const ecs = ['--source', 'ecs', '--cluster', 'demo'];
  await complains(
    ['--source', 'ecs'],
    /^rollcall list: --source ecs needs --cluster \(ROLLCALL_CLUSTER\) or --all-clusters$/m,
  );
  await complains([...ecs, '--all-clusters'], /cluster demo and --all-clusters exclude each other/);
  await complains(['--source', 'ecs', '--cluster', 'a b'], /--cluster.*"a b" is not the name or the ARN of a cluster/);
  await complains([...ecs, '--all'], /--all cannot be used with --source ecs; remove it$/m);
  await complains([...ecs, '--health', 'passing'], /--health cannot be used with --source ecs/);
  await complains(ecs, /ROLLCALL_HEALTH cannot be used with --source ecs/, { ROLLCALL_HEALTH: 'critical' });
  await complains([...ecs, '--store', 'etcd://h'], /--store cannot be used with --source ecs/);
  await complains([...ecs, '--mass-loss-share', 'off'], /--mass-loss-share cannot be used with --source ecs/);
  await complains(
    [...ecs, '--fields', 'ip,health'],
    /unknown column "health" with --source ecs; use one of ip, instance, status/,
  );
  await complains(
    ['--fields', 'ip,status'],
    /unknown column "status" with --source store; use one of ip, instance, state/,
  );
  await complains(['--all-clusters'], /--all-clusters needs --source ecs$/m);
  await complains(['--region', 'eu-west-1'], /--region needs --source ecs$/m);
  await complains(['--source', 'aws'], /Allowed choices are store, ecs/);
  assert.equal(requests.length, 0);
});

test('an error of ECS is one line with its code and the next step, status 1', async (t) => {
  const endpoint = await startEcsEndpoint(t, ecsOf({}));
  const env: Record<string, string> = { ...AWS, AWS_ENDPOINT_URL_ECS: endpoint.url };
  const fails = async (pattern: RegExp, extra: Record<string, string> = {}) => {
    const { code, stderr, stdout } = await rollcall(['list', '--source', 'ecs', '--cluster', 'demo'], {
      ...env,
      ...extra,
    });
    assert.match(stderr, pattern);
    assert.deepEqual([code, stdout, stderr.split('\n').length], [1, '', 2], stderr);
  };
  await fails(
    /^rollcall list: ecs:ListContainerInstances of demo in us-east-1: ClusterNotFoundException: Cluster not found; check/,
  );
  await fails(/the environment has AWS_SECRET_ACCESS_KEY but not AWS_ACCESS_KEY_ID; set both/, {
    AWS_ACCESS_KEY_ID: '',
  });
  await fails(/no region; set --region, AWS_REGION/, { AWS_REGION: '' });
  await fails(/AWS_ENDPOINT_URL_ECS is not the URL of an endpoint; use https:/, { AWS_ENDPOINT_URL_ECS: 'nowhere' });
  endpoint.answer = () => ecsFailure('AccessDeniedException', 'User: u is not authorized');
  await fails(/AccessDeniedException: User: u is not authorized; allow ecs:ListContainerInstances in IAM/);
});

test('a missing profile is refused, as in the aws CLI, instead of using the machine’s role', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-profile-'));
  t.after(() => rm(dir, { recursive: true }));
  const files = { AWS_CONFIG_FILE: join(dir, 'config'), AWS_SHARED_CREDENTIALS_FILE: join(dir, 'credentials') };
  await writeFile(
    files.AWS_CONFIG_FILE,
    '[profile ops]\nregion = us-east-1\n[sso-session sso]\nsso_region = us-east-1\n',
  );
  await writeFile(
    files.AWS_SHARED_CREDENTIALS_FILE,
    '[keys]\naws_access_key_id = AKIDOFPROFILE\naws_secret_access_key = secret\n[half]\naws_access_key_id = AKIDOFPROFILE\n[other-half]\naws_secret_access_key = secret\n',
  );
  const expiry = new Date(Date.now() + 3_600_000).toISOString();
  const role = { AccessKeyId: 'AKIDOFROLE', SecretAccessKey: 'secret', Token: 'token', Expiration: expiry };
  const answer = ecsOf({ demo: 1 });
  const endpoint = await startEcsEndpoint(t, (request) => (request.action === 'GET /role' ? role : answer(request)));
  const env = {
    ...{ ...AWS, ...files, AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' },
    ...{ AWS_ENDPOINT_URL_ECS: endpoint.url, AWS_CONTAINER_CREDENTIALS_FULL_URI: `${endpoint.url}/role` },
  };
  const list = (args: readonly string[], extra: Record<string, string> = {}) =>
    rollcall(['list', '--source', 'ecs', '--cluster', 'demo', ...args], { ...env, ...extra });
  const signers = () =>
    endpoint.requests.map(({ headers }) => /Credential=(\w+)/.exec(headers.authorization ?? '')?.[1]);

  for (const [args, extra] of [
    [['--profile', 'typo'], {}],
    [[], { AWS_PROFILE: 'typo' }],
    [['--profile', 'typo'], { AWS_PROFILE: 'keys' }],
    [['--profile', 'typo'], { AWS_ACCESS_KEY_ID: 'AKIDOFENV', AWS_SECRET_ACCESS_KEY: 'secret' }],
  ] as const) {
    const { code, stdout, stderr } = await list(args, extra);
    const where = `${files.AWS_CONFIG_FILE} or ${files.AWS_SHARED_CREDENTIALS_FILE}`;
    const line = `rollcall list: ecs:ListContainerInstances of demo in us-east-1: no profile "typo" in ${where}; check --profile and AWS_PROFILE; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name other files\n`;
    assert.deepEqual([code, stdout, stderr], [1, '', line]);
  }
  assert.match((await list(['--profile', 'sso'])).stderr, /no profile "sso"/);
  const half = await list(['--profile', 'half']);
  assert.match(
    half.stderr,
    /: profile "half" has aws_access_key_id but not aws_secret_access_key in [^\n]*\/credentials; correct profile "half" in [^\n]*\n$/,
  );
  assert.equal(half.code, 1);
  const otherHalf = await list(['--profile', 'other-half']);
  assert.match(
    otherHalf.stderr,
    /: profile "other-half" has aws_secret_access_key but not aws_access_key_id in [^\n]*\/credentials; correct /,
  );
  assert.deepEqual(endpoint.requests, []);

  assert.equal((await list(['--profile', 'keys'], { AWS_PROFILE: 'typo' })).code, 0);
  assert.deepEqual(new Set(signers()), new Set(['AKIDOFPROFILE']));
  // One that says nothing of credentials leaves the search for them as it is, with AWS's tools too.
  assert.equal((await list(['--profile', 'ops'])).code, 0);
  assert.equal(signers().at(-1), 'AKIDOFROLE');
  // As the aws CLI: keys in the environment outrank a profile in the environment.
  const both = { AWS_PROFILE: 'keys', AWS_ACCESS_KEY_ID: 'AKIDOFENV', AWS_SECRET_ACCESS_KEY: 'secret' };
  assert.equal((await list([], both)).code, 0);
  assert.equal(signers().at(-1), 'AKIDOFENV');
});
