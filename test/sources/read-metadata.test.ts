import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import type { ImdsFault } from '../../src/simulator/node.ts';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { createImdsClient } from '../../src/sources/imds.ts';
import { readMetadata } from '../../src/sources/metadata.ts';
import { scaledClock } from '../support/scaled-clock.ts';
import { startRawServer } from './start-raw-server.ts';

const { signal } = new AbortController();

/** Its 500 ms for a leaf are two seconds: a busy machine is not taken for a leaf that hangs. */
const slowClock = scaledClock(0.25);

function openClient(t: TestContext, endpoint: string, timeoutMs = 1_000) {
  const client = createImdsClient({ endpoint, clock: slowClock, allowV1: false, timeoutMs });
  t.after(() => client.close());
  return client;
}

async function startNode(t: TestContext) {
  const simulator = await startSimulator({ nodes: 1, basePort: 0, cluster: 'demo', seed: 's', clock: systemClock });
  t.after(() => simulator.close());
  const [first] = simulator.nodes;
  assert.ok(first);
  return { ...first, break: (imds: ImdsFault) => simulator.setFault(first.node.instanceId, { imds }) };
}

const LEAVES: Readonly<Record<string, string>> = {
  'instance-id': 'i-0123456789abcdef0',
  'local-ipv4': '10.113.0.23',
  'public-ipv4': '203.0.113.7',
  'local-hostname': 'ip-10-113-0-23.ec2.internal',
  'instance-type': 'm5.large',
  'ami-id': 'ami-0b69ea66ff7391e80',
  'instance-life-cycle': 'spot',
  'placement/availability-zone': 'us-east-1a',
  'placement/region': 'us-east-1',
};

/** A service with all leaves and no document; `special` answers the paths it names in another way. */
const startLeaves = (t: TestContext, special: Readonly<Record<string, (res: ServerResponse) => void>> = {}) =>
  startRawServer(t, (req, res) => {
    const path = req.url?.replace('/latest/', '') ?? '';
    const leaf = LEAVES[path.replace('meta-data/', '')];
    if (special[path]) special[path](res);
    else if (path === 'api/token') res.end('TOKEN');
    else if (leaf === undefined) res.writeHead(404).end();
    else res.end(leaf);
  });

test('one document and the leaves it lacks give all facts; a leaf that is 404 is null', async (t) => {
  const { node, imdsEndpoint } = await startNode(t);
  assert.deepEqual(await readMetadata(openClient(t, imdsEndpoint), signal), {
    facts: {
      ec2InstanceId: node.instanceId,
      privateIpAddress: '10.113.0.23',
      publicIpAddress: null,
      privateDnsName: 'ip-10-113-0-23.ec2.internal',
      availabilityZone: 'us-east-1a',
      region: 'us-east-1',
      instanceType: 'm5.large',
      imageId: node.imageId,
      accountId: '123456789012',
      instanceLifecycle: 'on-demand',
    },
    failures: [],
  });
});

test('where the document fails, the leaves stand in for it; the account, which has none, is absent', async (t) => {
  const server = await startLeaves(t);
  const read = await readMetadata(openClient(t, server.endpoint), signal);
  assert.deepEqual(read.failures, ['IMDS dynamic/instance-identity/document: HTTP 404']);
  assert.deepEqual(read.facts, {
    ec2InstanceId: LEAVES['instance-id'],
    privateIpAddress: '10.113.0.23',
    publicIpAddress: '203.0.113.7',
    privateDnsName: 'ip-10-113-0-23.ec2.internal',
    availabilityZone: 'us-east-1a',
    region: 'us-east-1',
    instanceType: 'm5.large',
    imageId: 'ami-0b69ea66ff7391e80',
    instanceLifecycle: 'spot',
  });
});

test('leaves fail independently: each bad one is absent and named, the good ones are read', async (t) => {
  const server = await startLeaves(t, {
    'meta-data/public-ipv4': (res) => res.end('<html>error</html>'),
    'meta-data/local-hostname': (res) => res.writeHead(503).end(),
    'meta-data/instance-life-cycle': (res) => res.destroy(),
    'meta-data/ami-id': (res) => res.end(`ami-1\nami-2`),
  });
  const { facts, failures } = await readMetadata(openClient(t, server.endpoint), signal);
  assert.deepEqual(Object.keys(facts).sort(), [
    'availabilityZone',
    'ec2InstanceId',
    'instanceType',
    'privateIpAddress',
    'region',
  ]);
  assert.equal(failures.length, 5, failures.join('\n'));
  for (const leaf of [
    'public-ipv4: expected',
    'local-hostname: HTTP 503',
    'instance-life-cycle at',
    'ami-id: expected',
  ]) {
    assert.ok(
      failures.some((line) => line.startsWith(`IMDS meta-data/${leaf}`)),
      `${leaf} in ${failures.join('\n')}`,
    );
  }
});

test('slow leaves cost half a second together, whatever their number', async (t) => {
  const hang = () => {};
  const server = await startLeaves(t, {
    'meta-data/public-ipv4': hang,
    'meta-data/local-hostname': hang,
    'meta-data/instance-life-cycle': hang,
  });
  const startMs = slowClock.monotonicMs();
  const { facts, failures } = await readMetadata(openClient(t, server.endpoint), signal);
  const tookMs = slowClock.monotonicMs() - startMs;
  assert.ok(tookMs < 950, `${tookMs} ms`);
  assert.equal(facts.ec2InstanceId, LEAVES['instance-id']);
  assert.equal(failures.filter((line) => line.endsWith('no answer within 500 ms')).length, 3);
});

test('an instance id that is 404 is a failure, not an unknown', async (t) => {
  const server = await startLeaves(t, { 'meta-data/instance-id': (res) => res.writeHead(404).end() });
  const { facts, failures } = await readMetadata(openClient(t, server.endpoint), signal);
  assert.equal('ec2InstanceId' in facts, false);
  assert.ok(failures.includes('IMDS meta-data/instance-id: HTTP 404'));
});

const unreachable: [ImdsFault, RegExp][] = [
  ['refuse', /^connection refused at 127\.0\.0\.1:\d+: no EC2 metadata service there$/],
  ['hang', /^IMDS token at .*no answer within 180 ms: .*--net=host/],
  ['token-hang', /^IMDS token at .*no answer within 180 ms: .*--net=host/],
  ['error500', /^IMDS token: HTTP 500$/],
  ['unauthorized', /^IMDS token: HTTP 401$/],
];
for (const [fault, message] of unreachable) {
  test(`with the fault ${fault}, one line says so and nothing is made up`, async (t) => {
    const node = await startNode(t);
    await node.break(fault);
    const client = openClient(t, node.imdsEndpoint, 200);
    const { facts, failures } = await readMetadata(client, signal);
    assert.deepEqual(facts, {});
    assert.equal(failures.length, 1, failures.join('\n'));
    assert.match(failures[0] ?? '', message);
    await node.break('none');
    assert.equal((await readMetadata(client, signal)).facts.ec2InstanceId, node.node.instanceId);
  });
}

const garbage: [ImdsFault, RegExp][] = [
  ['html', /expected .*, got "<!DOCTYPE html>/],
  ['truncated', /^IMDS .* at 127\.0\.0\.1:\d+: /],
  ['oversized', /larger than 65536 bytes/],
  ['wrong-type', /expected .*, got "/],
];
for (const [fault, message] of garbage) {
  test(`with the fault ${fault}, every field is named and none is believed`, async (t) => {
    const node = await startNode(t);
    await node.break(fault);
    const { facts, failures } = await readMetadata(openClient(t, node.imdsEndpoint), signal);
    assert.deepEqual(Object.values(facts).filter(Boolean), []);
    assert.ok(failures.length >= 9, failures.join('\n'));
    for (const line of failures) assert.match(line, message);
  });
}

test("an abort ends the whole read with the signal's reason", async (t) => {
  const server = await startRawServer(t, () => {});
  const controller = new AbortController();
  const read = readMetadata(openClient(t, server.endpoint), controller.signal);
  const reason = new Error('stopping');
  controller.abort(reason);
  await assert.rejects(read, (error) => error === reason);
});
