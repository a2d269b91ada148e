import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { startRawServer } from '../sources/start-raw-server.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { scaledClock } from '../support/scaled-clock.ts';
import { startWorld } from './start-agent.ts';

const never = new AbortController().signal;
const INSTANCE_ID = 'i-0123456789abcdef0';

/** An agent on a node whose EC2 metadata has these values; a number is a status. */
async function startOn(t: TestContext, values: Readonly<Record<string, string | number>>) {
  // A leaf has half a second, and so two: a busy machine is no leaf that hangs.
  const world = await startWorld(t, scaledClock(0.25));
  const all: Readonly<Record<string, string | number>> = {
    'meta-data/instance-id': INSTANCE_ID,
    'meta-data/local-ipv4': '172.16.0.9',
    ...values,
  };
  const imds = await startRawServer(t, (req, res) => {
    const value = all[req.url?.replace('/latest/', '') ?? ''] ?? 404;
    if (req.url === '/latest/api/token') res.end('TOKEN');
    else if (typeof value === 'number') res.writeHead(value).end();
    else res.end(value);
  });
  const agent = await world.startAgent({ config: { metadataEndpoint: imds.endpoint, metadataIntervalMs: 40 } });
  const record = async () => (await world.store.readOne(INSTANCE_ID, never)).entry?.record ?? assert.fail('no record');
  const status = async (name: string) => (await record()).health.checks.find((check) => check.name === name)?.status;
  await until('ecs-agent was read', PATIENCE_MS, async () => (await status('ecs-agent')) === 'passing');
  const linesOf = (source: string) =>
    agent.log().flatMap((line) => (line.startsWith(`${source}: `) ? [line.slice(source.length + 2)] : []));
  return { ...agent, record, status, linesOf };
}

function leaves(values: Readonly<Record<string, string | number>>) {
  return Object.fromEntries(Object.entries(values).map(([path, value]) => [`meta-data/${path}`, value]));
}

async function seenMore(agent: Awaited<ReturnType<typeof startOn>>, source: string): Promise<void> {
  const reads = await agent.reads(source);
  await until('it was read again', PATIENCE_MS, async () => (await agent.reads(source)) > reads + 3);
}

const DECORATIVE = ['privateDnsName', 'publicIpAddress', 'imageId', 'instanceLifecycle', 'availabilityZone'] as const;

test('what is empty or ends in a dot is no matter of health, and no line of the log', async (t) => {
  const values = { 'local-hostname': 'ip-172-16-0-9.example.com.', 'public-ipv4': '', 'ami-id': '' };
  const agent = await startOn(t, leaves(values));
  const record = await agent.record();
  assert.deepEqual([record.privateDnsName, record.publicIpAddress], ['ip-172-16-0-9.example.com', null]);
  await seenMore(agent, 'imds');
  assert.deepEqual([(await agent.record()).health.status, agent.linesOf('imds')], ['passing', []]);
});

test('a decorative fact that cannot be read is null and one line of the log, never health', async (t) => {
  const document = { instanceId: INSTANCE_ID, privateIp: '172.16.0.9', accountId: 'none', region: 'us-east-1' };
  const values = {
    'local-hostname': 'a,b',
    'public-ipv4': '203.0.113.7\n203.0.113.8',
    'ami-id': 500,
    'instance-life-cycle': 401,
    'placement/availability-zone': 'rack 7',
  };
  const agent = await startOn(t, {
    ...leaves(values),
    'dynamic/instance-identity/document': JSON.stringify(document),
  });
  await seenMore(agent, 'imds');
  const record = await agent.record();
  for (const name of [...DECORATIVE, 'accountId'] as const) assert.equal(record[name], null, name);
  assert.deepEqual([record.region, record.health.status], ['us-east-1', 'passing']);
  const lines = agent.linesOf('imds');
  assert.equal(lines.length, 6, lines.join('\n'));
  assert.ok(
    lines.includes('IMDS meta-data/local-hostname: expected a host name, got "a,b"; it does not change the health'),
  );
});

test('a private address that cannot be read is a warning: readers connect to it', async (t) => {
  const agent = await startOn(t, leaves({ 'local-ipv4': '172.16' }));
  await until('it warns', PATIENCE_MS, async () => (await agent.status('metadata')) === 'warning');
  assert.equal((await agent.record()).privateIpAddress, null);
});

test('an instance that has no private address at all is a warning too, and one line of the log', async (t) => {
  const agent = await startOn(t, leaves({ 'local-ipv4': 404 }));
  await until('it warns', PATIENCE_MS, async () => (await agent.status('metadata')) === 'warning');
  const { checks } = (await agent.record()).health;
  assert.equal(checks.find(({ name }) => name === 'metadata')?.reason, 'EC2 metadata has no private address');
  await seenMore(agent, 'imds');
  assert.deepEqual(agent.linesOf('imds'), ['EC2 metadata has no private address']);
});

test('notices that answer 401 for ever are a warning, but for the mere recommendation', async (t) => {
  const agent = await startOn(t, leaves({ 'spot/instance-action': 401, 'events/recommendations/rebalance': 401 }));
  await until('the check says so', PATIENCE_MS, async () => (await agent.status('notices')) === 'warning');
  const { checks } = (await agent.record()).health;
  assert.equal(checks.find(({ name }) => name === 'notices')?.reason, 'IMDS meta-data/spot/instance-action: HTTP 401');
  assert.equal(await agent.status('metadata'), 'passing');
  assert.deepEqual(agent.linesOf('notices'), ['IMDS meta-data/spot/instance-action: HTTP 401']);
});
