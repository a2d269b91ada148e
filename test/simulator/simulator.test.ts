import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts';
import { timed } from '../support/machine-time.ts';

async function start(t: TestContext, options: Partial<SimulatorOptions> = {}) {
  const simulator = await startSimulator({
    nodes: 2,
    basePort: 0,
    cluster: 'demo',
    seed: 's',
    clock: systemClock,
    ...options,
  });
  t.after(() => simulator.close());
  return simulator;
}

function nodeOf(simulator: Simulator, index = 0) {
  const node = simulator.nodes[index];
  assert.ok(node);
  return { ...node, id: node.node.instanceId };
}

async function ask(url: string, method = 'GET', body?: string, headers: Readonly<Record<string, string>> = {}) {
  const call = request(url, { method, headers, agent: false }).end(body);
  const [answer] = (await once(call, 'response')) as [IncomingMessage];
  const type = String(answer.headers['content-type']);
  return { status: answer.statusCode ?? 0, type, text: await text(answer), headers: answer.headers };
}

const refused = (url: string) => assert.rejects(ask(url), { code: 'ECONNREFUSED' });

const PORTS = [0, 1, 2, 3, 4];

/** A base port with free ports after it, below the kernel's range of ephemeral ports, which other tests use. */
async function freeBasePort(): Promise<number> {
  for (let basePort = 12_000 + (process.pid % 1_500) * 10; ; basePort += 10) {
    const servers = PORTS.map((offset) => createServer().listen(basePort + offset, '127.0.0.1'));
    const opened = await Promise.allSettled(servers.map((server) => once(server, 'listening')));
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    if (opened.every(({ status }) => status === 'fulfilled')) return basePort;
    assert.ok(basePort < 30_000, 'no five free ports in a row');
  }
}

test('introspection answers POST and HEAD like GET, and HEAD without a body', async (t) => {
  const { introspectionEndpoint } = nodeOf(await start(t));
  const get = await ask(`${introspectionEndpoint}/v1/metadata?x=1`);
  const post = await ask(`${introspectionEndpoint}/v1/metadata`, 'POST', 'ignored');
  const head = await ask(`${introspectionEndpoint}/v1/metadata`, 'HEAD');
  assert.equal(post.text, get.text);
  assert.equal(head.text, '');
  assert.equal(head.headers['content-length'], String(get.text.length));
});

test('each node has its own servers, and each server its own faults', async (t) => {
  const simulator = await start(t);
  const [first, second] = [nodeOf(simulator, 0), nodeOf(simulator, 1)];
  await simulator.setFault(first.id, { introspection: 'error500' });
  assert.equal((await ask(`${first.introspectionEndpoint}/v1/metadata`)).status, 500);
  assert.equal((await ask(`${first.imdsEndpoint}/latest/meta-data/`)).status, 401);
  assert.equal((await ask(`${second.introspectionEndpoint}/v1/metadata`)).status, 200);
});

test('the fault refuse closes the port, and none opens the same port again', async (t) => {
  const simulator = await start(t);
  const { id, imdsEndpoint, introspectionEndpoint } = nodeOf(simulator);
  await simulator.setFault(id, { introspection: 'refuse' });
  await refused(introspectionEndpoint);
  assert.equal((await ask(imdsEndpoint)).status, 401);
  await simulator.setFault(id, { introspection: 'none' });
  // Concurrent control requests; each waits for the previous one.
  const faults = ['refuse', 'none', 'refuse', 'none'] as const;
  await Promise.all(faults.map((introspection) => simulator.setFault(id, { introspection })));
  assert.equal((await ask(introspectionEndpoint)).status, 200);
});

test('a hanging request ends with its fault', async (t) => {
  const simulator = await start(t);
  const { id, introspectionEndpoint } = nodeOf(simulator);
  await simulator.setFault(id, { introspection: 'hang' });
  const socket = connect(Number(new URL(introspectionEndpoint).port), '127.0.0.1');
  socket.write('GET /v1/metadata HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(socket, 'connect');
  await assert.rejects(once(socket, 'data', { signal: AbortSignal.timeout(50) }), { name: 'AbortError' });
  const closed = once(socket, 'close');
  await simulator.setFault(id, { introspection: 'none' });
  await closed;
});

test('a restart of ecs-agent ends its connections; only a wiped checkpoint changes the ARN', async (t) => {
  const simulator = await start(t);
  const { id, introspectionEndpoint } = nodeOf(simulator);
  const arn = async () => JSON.parse((await ask(`${introspectionEndpoint}/v1/metadata`)).text).ContainerInstanceArn;
  const before = await arn();
  const idle = connect(Number(new URL(introspectionEndpoint).port), '127.0.0.1');
  await once(idle, 'connect');
  const closed = once(idle, 'close');
  await simulator.restartAgent(id, { wipeCheckpoint: false });
  await closed;
  assert.equal(await arn(), before);
  await simulator.restartAgent(id, { wipeCheckpoint: true });
  assert.notEqual(await arn(), before);
  await simulator.setFault(id, { introspection: 'refuse' });
  await simulator.restartAgent(id, { wipeCheckpoint: false });
  await refused(introspectionEndpoint);
});

test('the control server lists the nodes with endpoints, faults and notices', async (t) => {
  const simulator = await start(t);
  const { id, imdsEndpoint, introspectionEndpoint } = nodeOf(simulator);
  const { nodes } = JSON.parse((await ask(`${simulator.controlUrl}/nodes`)).text);
  assert.equal(nodes.length, 2);
  assert.deepEqual(nodes[0], {
    instanceId: id,
    privateIpAddress: '10.113.0.23',
    cluster: 'demo',
    imdsEndpoint,
    introspectionEndpoint,
    faults: { imds: 'none', introspection: 'none' },
    notices: { spot: null, rebalance: null, maintenance: [], lifecycleState: 'InService' },
  });
});

test('faults, notices and restarts over HTTP take effect and answer with the node', async (t) => {
  const simulator = await start(t, { allowV1: true });
  const { id, imdsEndpoint, introspectionEndpoint } = nodeOf(simulator);
  const url = `${simulator.controlUrl}/nodes/${id}`;

  const faulted = await ask(`${url}/faults`, 'PUT', '{"introspection":"html"}');
  assert.deepEqual(JSON.parse(faulted.text).faults, { imds: 'none', introspection: 'html' });
  assert.equal((await ask(introspectionEndpoint)).type, 'text/html; charset=utf-8');
  await ask(`${url}/faults`, 'PUT', '{"introspection":"none"}');

  const spot = { action: 'terminate', time: '2026-11-22T10:26:18Z' };
  const noticed = await ask(`${url}/notices`, 'PUT', JSON.stringify({ spot }));
  assert.deepEqual(JSON.parse(noticed.text).notices.spot, spot);
  assert.deepEqual(JSON.parse((await ask(`${imdsEndpoint}/latest/meta-data/spot/instance-action`)).text), spot);

  const before = (await ask(`${introspectionEndpoint}/v1/metadata`)).text;
  assert.equal((await ask(`${url}/restart`, 'POST', '{"wipeCheckpoint":true}')).status, 200);
  assert.notEqual((await ask(`${introspectionEndpoint}/v1/metadata`)).text, before);
});

test('an invalid control request is a problem in one line, and changes nothing', async (t) => {
  const simulator = await start(t);
  const { controlUrl } = simulator;
  const { id } = nodeOf(simulator);
  const before = (await ask(`${controlUrl}/nodes`)).text;
  const cases: [string, string, string | undefined, number, RegExp][] = [
    ['GET', '/', undefined, 404, /GET \/nodes lists/],
    ['GET', '/nodes/i-none', undefined, 404, /no simulated node has the id i-none/],
    ['POST', '/nodes', '', 405, /use GET$/],
    ['GET', `/nodes/${id}/faults`, undefined, 405, /use PUT$/],
    ['PUT', `/nodes/${id}/faults`, '{"imds":"sleepy"}', 400, /use one of none, refuse, hang/],
    ['PUT', `/nodes/${id}/faults`, '{"imds":', 400, /^the body is not JSON$/],
    ['PUT', `/nodes/${id}/notices`, '{"spot":{"action":"x"}}', 400, /^notices: spot/],
    ['POST', `/nodes/${id}/restart`, '{"wipeCheckpoint":"yes"}', 400, /wipeCheckpoint/],
    ['PUT', `/nodes/${id}/faults`, 'x'.repeat(20_000), 413, /longer than 16384 bytes/],
  ];
  for (const [method, path, body, status, detail] of cases) {
    const answer = await ask(controlUrl + path, method, body);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    assert.equal(answer.type, 'application/problem+json');
    assert.match(JSON.parse(answer.text).detail, detail);
  }
  assert.equal((await ask(`${controlUrl}/nodes`)).text, before);
});

test('the control server refuses another Host, as after DNS rebinding', async (t) => {
  const { controlUrl } = await start(t);
  assert.equal((await ask(`${controlUrl}/nodes`, 'GET', undefined, { host: 'evil.example' })).status, 421);
  assert.equal((await ask(`${controlUrl}/nodes`, 'GET', undefined, { host: 'localhost:1' })).status, 200);
});

test('with a base port the ports are consecutive: control, then IMDS and introspection of each node', async (t) => {
  const basePort = await freeBasePort();
  const { controlUrl, nodes } = await start(t, { basePort });
  assert.equal(controlUrl, `http://127.0.0.1:${basePort}`);
  assert.deepEqual(
    nodes.map((node) => [node.imdsEndpoint, node.introspectionEndpoint]),
    [1, 3].map((offset) => [offset, offset + 1].map((one) => `http://127.0.0.1:${basePort + one}`)),
  );
});

test('the ECS endpoint has the port after the nodes’; without it the control server says how to enable it', async (t) => {
  const basePort = await freeBasePort();
  const { ecsEndpoint, controlUrl } = await start(t, { basePort, nodes: 1, ecs: true });
  assert.equal(ecsEndpoint, `http://127.0.0.1:${basePort + 3}`);
  assert.equal((await ask(`${controlUrl}/ecs`)).status, 200);
  const without = await start(t);
  assert.equal(without.ecsEndpoint, null);
  const answer = await ask(`${without.controlUrl}/ecs`);
  assert.equal(answer.status, 404);
  assert.match(answer.text, /start with --ecs/);
});

test('an invalid control request for ECS is a problem in one line, and changes nothing', async (t) => {
  const simulator = await start(t, { ecs: true });
  const { controlUrl } = simulator;
  const one = `/ecs/instances/${nodeOf(simulator).id}`;
  const before = (await ask(`${controlUrl}/ecs/instances`)).text;
  const cases: [string, string, string | undefined, number, RegExp][] = [
    ['GET', '/ecs/nothing', undefined, 404, /use one of \/ecs, \/ecs\/faults/],
    ['POST', '/ecs/requests', '{}', 405, /use GET, DELETE$/],
    ['PUT', '/ecs/faults', '{"all":', 400, /^the body is not JSON$/],
    ['PUT', '/ecs/settings', '{"registrationDelayMs":-1}', 400, /expected 0 to 3600000, got -1$/],
    ['GET', '/ecs/instances/i-none', undefined, 400, /no container instance has the id i-none/],
    ['PUT', one, '{"status":"TIRED"}', 400, /^ECS instance: status: /],
    ['PUT', one, '{"colour":"red"}', 400, /^ECS instance: colour: /],
    ['PUT', one, '{"cluster":"a b"}', 400, /cluster: expected the name of a cluster/],
    ['POST', '/ecs/instances', '{}', 400, /cluster: expected the name/],
    ['POST', '/ecs/instances', '{"cluster":"demo","count":10001}', 400, /count: expected 1 to 10000, got 10001$/],
    ['POST', '/ecs/instances', '{"cluster":"demo","count":2,"ec2InstanceId":"i-12345678"}', 400, /one instance$/],
    ['POST', '/ecs/taskDefinitions', '{"family":"f"}', 400, /^ClientException: Container list cannot be empty/],
  ];
  for (const [method, path, body, status, detail] of cases) {
    const answer = await ask(controlUrl + path, method, body);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    assert.equal(answer.type, 'application/problem+json');
    assert.match(JSON.parse(answer.text).detail, detail);
  }
  assert.equal((await ask(`${controlUrl}/ecs/instances`)).text, before);
});

test('a port in use is an error of one line, and no other port stays open', async (t) => {
  const basePort = await freeBasePort();
  for (const offset of [0, 2, 4]) {
    const taken = createServer().listen(basePort + offset, '127.0.0.1');
    await once(taken, 'listening');
    t.after(() => taken.close());
    await assert.rejects(start(t, { basePort }), {
      name: 'RollcallError',
      message: `listen on 127.0.0.1:${basePort + offset}: the port is in use; set another --base-port, or 0 for free ports`,
    });
    taken.close();
    await once(taken, 'close');
    for (const port of PORTS) await refused(`http://127.0.0.1:${basePort + port}`);
  }
});

test('options out of range are usage errors with the range', async (t) => {
  for (const nodes of [0, 1_001, 1.5, Number.NaN]) {
    await assert.rejects(start(t, { nodes }), {
      name: 'UsageError',
      message: `cannot simulate ${nodes} nodes; use 1 to 1000`,
    });
  }
  for (const basePort of [-1, 65_532, 1.5]) {
    await assert.rejects(start(t, { basePort }), { name: 'UsageError', message: /use 1 to 65531, or 0/ });
  }
  await assert.rejects(start(t, { cluster: 'a b' }), { name: 'UsageError', message: /^cluster "a b": expected/ });
});

test('an unknown id is an error, also in the setters', async (t) => {
  const simulator = await start(t);
  const message = /^no simulated node has the id i-none; http/;
  await assert.rejects(simulator.setFault('i-none', {}), { message });
  await assert.rejects(simulator.setNotices('i-none', {}), { message });
  await assert.rejects(simulator.restartAgent('i-none', { wipeCheckpoint: false }), { message });
});

test('close closes all ports and idle connections', async (t) => {
  const simulator = await start(t);
  const { imdsEndpoint, introspectionEndpoint } = nodeOf(simulator);
  const idle = connect(Number(new URL(imdsEndpoint).port), '127.0.0.1');
  await once(idle, 'connect');
  const closed = once(idle, 'close');
  await simulator.close();
  await closed;
  for (const url of [imdsEndpoint, introspectionEndpoint, simulator.controlUrl]) await refused(url);
});

test('close also closes a port that is being opened', async (t) => {
  const simulator = await start(t);
  const { id, introspectionEndpoint } = nodeOf(simulator);
  await simulator.setFault(id, { introspection: 'refuse' });
  const opening = simulator.setFault(id, { introspection: 'none' });
  await simulator.close();
  await opening;
  await refused(introspectionEndpoint);
});

test('250 nodes start and stop quickly', async (t) => {
  const [, tookMs] = await timed(
    (async () => {
      const simulator = await start(t, { nodes: 250 });
      assert.equal(JSON.parse((await ask(`${simulator.controlUrl}/nodes`)).text).nodes.length, 250);
      await simulator.close();
    })(),
  );
  assert.ok(tookMs < 30_000, `${tookMs} ms`);
});
