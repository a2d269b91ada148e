import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startEtcd } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { agentUrl, getJson, PATIENCE_MS, rollcall, startFleet, startRollcall } from '../support/rollcall-process.ts';

const ID = 'mi-0123456789abcdef0';

/** Where EC2's metadata service would be: it answers nothing, and counts who asks. */
async function startWitness(t: TestContext) {
  let asked = 0;
  const server = createServer((_, response) => {
    asked += 1;
    response.writeHead(404).end();
  });
  server.on('connection', () => (asked += 1));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked: () => asked };
}

async function world(t: TestContext, kind: 'sqlite' | 'etcd') {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-external-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const etcd = kind === 'etcd' ? await startEtcd() : null;
  t.after(() => etcd?.dispose());
  const store = etcd ? etcd.clientUrl.replace('http', 'etcd') : `sqlite:${dir}/roll.db`;
  const imds = await startWitness(t);
  const fleet = await startFleet(t, 1);
  const node = await fleet.environment(1);
  const registration = join(dir, 'registration');
  const env = {
    ...node,
    ROLLCALL_STORE: store,
    ROLLCALL_LISTEN: '127.0.0.1:0',
    AWS_EC2_METADATA_SERVICE_ENDPOINT: imds.url,
    ROLLCALL_METADATA_ENDPOINT: imds.url,
    ROLLCALL_METADATA_INTERVAL: '1s',
    ROLLCALL_NOTICE_INTERVAL: '1s',
    ROLLCALL_SSM_REGISTRATION_FILE: registration,
  };
  const list = async (...args: string[]) =>
    (await rollcall(['list', ...(args.includes('json') ? [] : ['--no-legend']), ...args], { ROLLCALL_STORE: store }))
      .stdout;
  return { store, imds, registration, env, list, node };
}

for (const kind of ['sqlite', 'etcd'] as const) {
  test(`a host of ECS Anywhere registers by its SSM registration, without reading EC2 metadata: ${kind}`, async (t) => {
    const { imds, registration, env, list, store } = await world(t, kind);
    await writeFile(registration, `{"ManagedInstanceID":"${ID}","Region":"eu-west-1"}`);
    const agent = startRollcall(t, ['agent'], { ...env, ROLLCALL_IDENTITY: 'ssm', ROLLCALL_PRIVATE_IP: '192.0.2.7' });
    await until('it is on the roll', 30_000, async () => (await list()).includes(ID));
    assert.match(await list(), new RegExp(`^192\\.0\\.2\\.7 +${ID} +passing +arn:\\S+\n$`));
    const [record] = JSON.parse(await list('-o', 'json')).containerInstances;
    const { ec2InstanceId, region, availabilityZone, instanceType, imageId, instanceLifecycle, accountId } = record;
    assert.deepEqual(
      [ec2InstanceId, region, availabilityZone, instanceType, imageId, instanceLifecycle, accountId],
      [ID, 'eu-west-1', null, null, null, null, null],
    );
    assert.deepEqual(
      record.health.checks.find((check: { name: string }) => check.name === 'metadata'),
      { name: 'metadata', status: 'passing', reason: '', since: record.health.checks[0].since },
    );
    const shown = await rollcall(['show', ID, '--store', store]);
    assert.equal(shown.code, 0, shown.stderr);
    const { body } = await getJson(`${await agentUrl(agent)}/v1/self`);
    const sources = body.sources.map((source: { name: string }) => source.name).sort();
    assert.deepEqual(sources, ['host', 'introspection']);
    const readTwice = async () =>
      (await getJson(`${await agentUrl(agent)}/v1/self`)).body.sources.find(
        (source: { name: string }) => source.name === 'host',
      ).reads >= 3;
    await until('it was read again', PATIENCE_MS, readTwice);
    assert.equal(imds.asked(), 0);
    agent.child.kill('SIGTERM');
    assert.equal((await agent.ended).code, 0);
    assert.match(await list('--all', '--fields', 'instance,state'), new RegExp(`${ID} +departed`));
  });
}

test('the agent waits for the registration file and says so; then it registers, and stays registered without the file', async (t) => {
  const { registration, env, list } = await world(t, 'sqlite');
  const agent = startRollcall(t, ['agent'], { ...env, ROLLCALL_IDENTITY: 'ssm', ROLLCALL_PRIVATE_IP: '192.0.2.9' });
  const url = await agentUrl(agent);
  await until('it says so', PATIENCE_MS, () => agent.stderr().includes('no such file; register the host with SSM'));
  assert.equal((await getJson(`${url}/readyz`)).status, 503);
  assert.equal(await list(), '');
  await writeFile(registration, `{"ManagedInstanceID":"${ID}","Region":"eu-west-1"}`);
  await until('it is on the roll', PATIENCE_MS, async () => (await list()).includes(ID));
  await until('it passes', PATIENCE_MS, async () => / passing /.test(await list()));
  await rm(registration);
  await until('the check warns', PATIENCE_MS, async () =>
    /metadata: .*no such file/.test(await list('--fields', 'instance,reason')),
  );
  assert.match(await list('--fields', 'instance,health'), new RegExp(`^${ID} +warning\n$`));
});

test('an agent with a given id needs no registration file', async (t) => {
  const { env, list, imds } = await world(t, 'sqlite');
  startRollcall(t, ['agent', '--identity', ID, '--private-ip', '192.0.2.8'], env);
  await until('it is on the roll', 30_000, async () => (await list()).includes(`192.0.2.8  ${ID}`));
  assert.equal(imds.asked(), 0);
});
