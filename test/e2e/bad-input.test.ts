import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ETCD_LIMITED, startEtcdWithAuth } from '../support/etcd-auth.ts';
import { makeEtcdCerts } from '../support/etcd-certs.ts';
import { startEtcd } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS, rollcall, startRollcall } from '../support/rollcall-process.ts';
import { sampleRecord } from '../support/sample-record.ts';

/** Fails unless it said one line on stderr, nothing on stdout, no stack, and ended with `code`. */
async function complains(args: readonly string[], code: number, pattern: RegExp, env: Record<string, string> = {}) {
  const result = await rollcall(args, env);
  const said = `${args.join(' ')} said: ${result.stderr}`;
  assert.equal(result.code, code, said);
  assert.match(result.stderr, pattern);
  assert.equal(result.stdout, '', said);
  assert.equal(result.stderr.trimEnd().split('\n').length, 1, said);
  assert.doesNotMatch(result.stderr, /^\s+at |node:internal|Error:/m);
}

test('wrong usage is one line with the flag or variable, the value and what is allowed; status 2', async () => {
  await complains(
    ['list', '--frobnicate'],
    2,
    /^rollcall list: unknown option '--frobnicate'; see rollcall list --help/,
  );
  await complains(['frobnicate'], 2, /unknown command 'frobnicate'/);
  await complains(['list', 'surplus'], 2, /unexpected argument "surplus"; rollcall show/);
  await complains(['list', '--store', 'http://h:2379'], 2, /"http:\/\/h:2379": unknown scheme "http"; use etcd:/);
  await complains(['list', '--store', 'etcd://h:notaport'], 2, /"h:notaport" is not HOST or HOST:PORT/);
  const arn = 'arn:aws:ecs:us-east-1:123456789012:service/demo';
  for (const name of ['list', 'watch']) {
    await complains([name, '--cluster', arn], 2, /--cluster.*"arn:\S+demo" is not the name or the ARN of a cluster/);
    await complains([name, '-l', 'role=a=b'], 2, /selector "role=a=b" is not a condition; allowed: key=value/);
  }
  await complains(['list', '--agent', 'h:51690'], 2, /--agent.*Write an address such as http:/);
  await complains(['list', '--cluster', ''], 2, /--cluster.*cluster has an empty value; set a value or remove it/);
  await complains(['list', '-o', 'yaml'], 2, /'yaml' is invalid. Allowed choices are text, wide, json, ndjson/);
  await complains(
    ['list', '--fields', 'ip,nope'],
    2,
    /unknown column "nope" with --source store; use one of ip, instance/,
  );
  await complains(['list'], 2, /'bad' from env 'ROLLCALL_OUTPUT' is invalid/, { ROLLCALL_OUTPUT: 'bad' });
  await complains(['agent'], 2, /^rollcall agent: ROLLCALL_ECS_ATTRIBUTES is "disabled"; set it to true or false$/m, {
    ROLLCALL_ECS_ATTRIBUTES: 'disabled',
  });
  await complains(['list', '--health', '\u202e\u001b]0;x\u0007'], 2, /health "?'?.*\\u202e\\u001b\]0;x\\u0007/);
  await complains(['show'], 2, /missing required argument 'node'/);
  await complains(['show', 'web-1'], 2, /"web-1" is not an instance id/);
  await complains(['agent', '--presence-ttl', '30'], 2, /Write a duration such as/);
  await complains(
    ['agent', '--presence-ttl', '1s', '--store', 'etcd://h'],
    2,
    /--presence-ttl 1s is too short for etcd:\/\/h:2379\/rollcall: at least 2s/,
  );
  await complains(['agent', '--presence-ttl', '30s', '--retention', '30s'], 2, /--retention 30s must be longer/);
  await complains(['agent', '--label', 'novalue'], 2, /"novalue" is not KEY=VALUE/);
  await complains(['agent', '--listen', 'nowhere'], 2, /Write HOST:PORT/);
  await complains(['simulate', '--nodes', '0'], 2, /from 1 to 1000/);
  await complains(
    ['list', '--store', 'etcd://h', '--etcd-password-file', '/nonexistent'],
    2,
    /cannot read the etcd password file \/nonexistent/,
  );
});

test('an agent names each setting that does not do what it is for, and runs', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-bad-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const firstLines = async (env: Record<string, string>) => {
    const away = { ROLLCALL_METADATA_ENDPOINT: 'http://127.0.0.1:1', ROLLCALL_LISTEN: '127.0.0.1:0' };
    const { stderr } = startRollcall(t, ['agent', '--store', `sqlite:${dir}/roll.db`], { ...away, ...env });
    await until('it answers', PATIENCE_MS, () => stderr().includes('answers on'));
    return stderr();
  };
  const said = await firstLines({
    ...{ ROLLCALL_PRESENSE_TTL: '5s', ECS_CLUSTER: 'a b', ROLLCALL_DOCKER_SOCKET: `${dir}/none.sock` },
    ...{ ROLLCALL_IMAGE: 'x', ROLLCALL_COUNT: '3', ROLLCALL_ALL: 'false', ROLLCALL_ECS_ATTRIBUTES: 'off' },
  });
  assert.match(said, /"level":"warn",.*"ROLLCALL_PRESENSE_TTL is no variable of rollcall and has no effect/);
  assert.match(said, /"level":"warn",.*ECS_CLUSTER .*a b.* is not the name or ARN of one ECS cluster and is not used/);
  assert.match(said, /"level":"warn",.*docker is not checked: .*none\.sock.* is no socket where the agent runs/);
  assert.doesNotMatch(said, /(IMAGE|COUNT|ALL|ATTRIBUTES) .* no effect/);
  assert.doesNotMatch(await firstLines({}), /no effect|not used|docker is not checked/);
});

test('an unusable embedded store is one line with the path and the cause; status 1, nothing changed', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-bad-'));
  try {
    await writeFile(join(dir, 'notes.txt'), 'not a database, and not to be lost\n'.repeat(50));
    await complains(['list', '--store', `sqlite:${dir}/none.db`], 1, /none\.db.*(no such file|does not exist)/i);
    await complains(['agent', '--store', `sqlite:${dir}`], 1, new RegExp(dir));
    await complains(['agent', '--store', 'sqlite:/proc/none/roll.db'], 1, /\/proc\/none/);
    await complains(['agent', '--store', `sqlite:${dir}/notes.txt`], 1, /not a database/);
    assert.match(await readFile(join(dir, 'notes.txt'), 'utf8'), /^not a database, and not to be lost/);
  } finally {
    await rm(dir, { recursive: true });
  }
});

test('an etcd that does not run, or refuses the password or certificate, is one line with the address and the cause; status 1', async (t) => {
  await complains(['list', '--store', 'etcd://127.0.0.1:1'], 1, /etcd.*127\.0\.0\.1:1.*connection refused/);
  const locked = await startEtcdWithAuth();
  t.after(() => locked.dispose());
  const store = locked.clientUrl.replace('http', 'etcd');
  await complains(['list', '--store', store], 1, /user/);
  const wrong = { ROLLCALL_ETCD_USER: ETCD_LIMITED.user, ROLLCALL_ETCD_PASSWORD: 'hunter2' };
  await complains(['list', '--store', store], 1, /user "node".*password/, wrong);
  const result = await rollcall(['list', '--store', store], wrong);
  assert.doesNotMatch(result.stderr, /hunter2/);

  const certs = await makeEtcdCerts();
  t.after(() => certs.dispose());
  const secure = await startEtcd({ tls: certs.mutual });
  t.after(() => secure.dispose());
  const url = secure.clientUrl.replace('https', 'etcds');
  await complains(['list', '--store', url], 1, /not trusted.*--etcd-ca-file/);
  const expired = [
    '--etcd-ca-file',
    certs.caFile,
    '--etcd-cert-file',
    certs.expiredClient.certFile,
    '--etcd-key-file',
    certs.expiredClient.keyFile,
  ];
  await complains(['list', '--store', url, ...expired], 1, /certificate.*expired/);
});

test('unreadable records are named on stderr, and the rest of the list is printed', async (t) => {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  await etcd.etcdctl('put', '/rollcall/v1/records/i-00000001', '{"schemaVersion":99}');
  await etcd.etcdctl('put', '/rollcall/v1/records/i-00000002', 'not json');
  await etcd.etcdctl('put', '/rollcall/v2/else', 'x');
  await etcd.etcdctl('put', '/rollcallx/v1/records/i-00000003', 'not ours at all');
  const store = etcd.clientUrl.replace('http', 'etcd');
  const { code, stdout, stderr } = await rollcall(['list', '--all', '--store', store]);
  assert.equal(code, 0);
  assert.match(stdout, /^IP +INSTANCE +STATE/);
  assert.match(stderr, /i-00000001: schemaVersion 99 is newer than 1/);
  assert.match(stderr, /i-00000002: not JSON/);
  assert.doesNotMatch(stderr, /rollcallx/);
  const off = await rollcall(['list', '--store', store], { ROLLCALL_ALL: 'false' });
  assert.match(off.stdout, /^IP +INSTANCE +HEALTH/, 'a switch whose variable says false is off');
});

test('what a record has in place of an address or a word is unknown to every command, and named', async (t) => {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const store = etcd.clientUrl.replace('http', 'etcd');
  const id = 'i-00000001';
  const hostile = {
    ...sampleRecord({ ec2InstanceId: id }),
    privateIpAddress: ['-oProxyCommand=touch$', '{IFS}pwned'].join(''),
    publicIpAddress: '10.9.9.9  i-8a8d0000  arn:aws:ecs',
    cluster: '\u001b]0;x\u009b\u202e',
  };
  await etcd.etcdctl('put', `/rollcall/v1/records/${id}`, JSON.stringify(hostile));
  const presence = { session: 'session-a', since: hostile.registeredAt, ttlSeconds: 30 };
  await etcd.etcdctl('put', `/rollcall/v1/presence/${id}`, JSON.stringify(presence));
  const named = `the record of ${id} has an invalid cluster, privateIpAddress, publicIpAddress`;
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await rollcall([...args, '--store', store]);
    assert.equal(code, 0, stderr);
    assert.ok(
      stderr.split('\n').some((line) => line.endsWith(`: ${named}`)),
      `${args[0]}: ${stderr}`,
    );
    assert.doesNotMatch((stdout + stderr).replaceAll('\n', ''), /ProxyCommand|10\.9\.9\.9|[\p{Cc}\p{Bidi_Control}]/u);
    return stdout;
  };
  assert.equal(await run('list', '--fields=ip,instance,public-ip,cluster', '--no-legend'), `-  ${id}  -  -\n`);
  for (const format of ['wide', 'ndjson']) await run('list', '-o', format);
  for (const args of [['show', id], ['status'], ['dns']]) await run(...args);
});
