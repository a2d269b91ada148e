import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { NO_ACCESS_FILES } from '../../src/http/access.ts';
import { abortable } from '../../src/lib/abort.ts';
import { deferred } from '../../src/lib/deferred.ts';
import { fakeEcs } from '../audit/fake-ecs.ts';
import { sampleInstance } from '../audit/sample-sides.ts';
import { flakyStore } from '../support/flaky-store.ts';
import { until } from '../support/machine-time.ts';
import { outgoingConnection } from '../support/outgoing-connection.ts';
import { getJson, PATIENCE_MS } from '../support/rollcall-process.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import { startWorld } from './start-agent.ts';

test('an agent says what its record leaves out, such as a label that is no word', async (t) => {
  const world = await startWorld(t);
  const agent = await world.startAgent({ config: { labels: { role: 'web', team: 'web servers' } } });
  const told = agent.log().filter((line) => line.startsWith('left out'));
  assert.deepEqual(told, ['left out of the record, since lists cannot show it: labels.team']);
});

test('an agent whose port a connection has is on the roll, and answers once it can, by the files of then', async (t) => {
  const clock = simulatedClock();
  const world = await startWorld(t, clock);
  const connection = await outgoingConnection(t);
  const port = connection.localPort ?? assert.fail();
  const tokenFile = join(await mkdtemp(join(tmpdir(), 'rollcall-port-')), 'tokens');
  t.after(() => rm(dirname(tokenFile), { recursive: true }));
  await writeFile(tokenFile, 'the-token-of-before\n');
  const lines: string[] = [];
  const config = { listen: { host: '127.0.0.1', port }, access: { ...NO_ACCESS_FILES, tokenFile } };
  const starting = world.startAgent({ config, token: 'the-token-of-now', onLog: (line) => lines.push(line) });
  const told = () => lines.filter((line) => line.includes('once it can listen'));
  await until('its node is registered', PATIENCE_MS, async () => (await world.record()) !== null);
  assert.match(
    told().join(),
    new RegExp(
      `^warn: port ${port} is taken by a connection of this host; net\\.ipv4\\.ip_local_reserved_ports=51678,${port} in /etc/sysctl\\.d/ \\(it replaces the list\\) keeps it free; the agent pub`,
    ),
  );
  await writeFile(tokenFile, 'the-token-of-now\n');

  connection.resetAndDestroy(); // which leaves no TIME_WAIT, unlike an end in order
  const other = createServer();
  t.after(() => other.close());
  await until('another program has the port', PATIENCE_MS, async () => {
    if (!other.listening) other.once('error', () => {}).listen(port, '127.0.0.1');
    return other.listening;
  });
  await until('the agent says so', PATIENCE_MS, async () => {
    await clock.advance(1_000);
    return told().length > 1;
  });
  assert.match(told()[1] ?? '', new RegExp(`^warn: listen on 127.0.0.1:${port}: the port is in use; `));
  other.close();

  const untilAnswers = until('the agent answers', PATIENCE_MS, async () => {
    await clock.advance(1_000);
    return lines.some((line) => line.includes('answers on'));
  });
  const [agent] = await Promise.all([starting, untilAnswers]);
  assert.equal(agent.url, `http://127.0.0.1:${port}`);
  assert.equal(told().length, 2);
  const ask = async (token: string) =>
    (await fetch(`${agent.url}/v1/self`, { headers: { authorization: `Bearer ${token}` } })).status;
  assert.deepEqual([await ask('the-token-of-before'), await ask('the-token-of-now')], [401, 200]);
});

test('an agent whose port another program listens on ends, and registers nothing', async (t) => {
  const world = await startWorld(t);
  const other = createServer().listen(0, '127.0.0.1');
  t.after(() => other.close());
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const starting = world.startAgent({ config: { listen: { host: '127.0.0.1', port } } });
  await assert.rejects(starting, new RegExp(`listen on 127.0.0.1:${port}: the port is in use; .*--listen`));
  assert.equal(await world.record(), null);
});

test('an agent that has no machine id says so once: fleet’s machine is not found by it', async (t) => {
  const world = await startWorld(t);
  const told = async (machineIdFile: string) => {
    const agent = await world.startAgent({ config: { machineIdFile } });
    await agent.leave();
    return agent.levelledLog().filter((line) => line.includes('machine id'));
  };
  assert.deepEqual(await told('/nonexistent'), [
    'warn: no machine id: /nonexistent does not exist, or systemd has not filled it yet; it does not change the health',
  ]);
  const [other, ...more] = await told('/etc/passwd');
  assert.match(other ?? '', /^warn: machine id in \/etc\/passwd: expected .*; it does not change the health$/);
  assert.deepEqual(more, []);
});

test('an agent says once that the watch of the roll is down, warns in its check, and says once that it is up again', async (t) => {
  const clock = simulatedClock();
  const world = await startWorld(t, clock);
  const healed = deferred<void>();
  const store = flakyStore(world.store);
  const network = {
    ...store,
    watch: async function* (...[revision, signal]: Parameters<typeof store.watch>) {
      await abortable(healed.promise, signal);
      yield* store.watch(revision, signal);
    },
  };
  const once = { metadataIntervalMs: 600_000, introspectionIntervalMs: 600_000, noticeIntervalMs: 600_000 };
  const agent = await world.startAgent({ network, config: once });
  const told = () => agent.levelledLog().filter((line) => /^\w+: the watch of the roll/.test(line));
  const check = async () => (await agent.self()).checks.find(({ name }: { name: string }) => name === 'store');
  const isWatching = async () => {
    const page = await (await fetch(`${agent.url}/metrics`)).text();
    return /^rollcall_registry_watching (\d)$/m.exec(page)?.[1];
  };
  /** For a minute of the agent's time at the most. */
  const untilCheckIs = async (status: string) => {
    for (let s = 0; s < 60 && (await check())?.status !== status; s += 1) await clock.advance(1_000);
    assert.equal((await check())?.status, status);
  };

  assert.equal((await getJson(`${agent.url}/v1/containerInstances`)).status, 200);
  await clock.advance(14_000);
  assert.deepEqual([told(), await isWatching(), (await check())?.status], [[], '1', 'passing']);
  await clock.advance(2_000);
  assert.deepEqual([told().length, await isWatching()], [1, '0'], 'after 15 s');
  await untilCheckIs('warning');
  assert.match((await check()).reason, /^the watch of the roll has been down for \d+s: /);
  assert.equal(told().length, 1);
  assert.match(told()[0] ?? '', /^warn: the watch of the roll has been down for \d+s: /);

  healed.resolve();
  await untilCheckIs('passing');
  assert.deepEqual(told().slice(1), ['info: the watch of the roll is up again, or no longer needed']);
  assert.equal(await isWatching(), '1');
});

test('the agent that audits names a container instance that ECS does not describe for an unknown reason', async (t) => {
  const world = await startWorld(t);
  const ecs = fakeEcs([sampleInstance(1)]);
  const [{ containerInstanceArn: arn } = assert.fail()] = ecs.instances;
  ecs.onDescribe = () => ({ instances: [], failures: [{ arn, reason: 'SHARD_AWAY' }] });
  const config = { audit: { intervalMs: 200, clusters: ['demo'] } };
  const agent = await world.startAgent({ openEcs: async () => ecs, config });
  const told = () => agent.levelledLog().filter((line) => line.includes('SHARD_AWAY'));
  await until('it is named', PATIENCE_MS, () => told().length > 0);
  assert.equal(told()[0], `warn: continuous audit: ECS does not describe ${arn}: SHARD_AWAY; it counts as missing`);
});

test('a departure that the store carried out without an answer is not called failed', async (t) => {
  const world = await startWorld(t);
  const agent = await world.startAgent();
  agent.network.loseAnswers = true;
  await agent.leave();
  assert.equal((await world.record())?.departure?.cause, 'stopped');
  assert.deepEqual(
    agent.log().filter((line) => line.includes('readers see')),
    ['deregistration not confirmed within 2000 ms: readers see this node as lost, if the store did not carry it out'],
  );
});
