import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type EtcdServer, startEtcd } from '../support/etcd-server.ts';
import { timed, until } from '../support/machine-time.ts';
import { pauseProcess } from '../support/owned-process.ts';
import {
  agentUrl,
  getJson,
  PATIENCE_MS,
  type Running,
  rollcall,
  rollStates,
  startFleet,
  startRollcall,
} from '../support/rollcall-process.ts';

const TTL_MS = 3_000;
/** What a test allows on top of a promise for processes that start on a busy machine. */
const SLACK_MS = 15_000;

interface World {
  readonly etcd: EtcdServer;
  readonly store: string;
  readonly ids: readonly string[];
  readonly agents: Running[];
  start(n: number, args?: string[], ttlMs?: number): Promise<Running>;
  setFaults(instanceId: string, faults: Record<string, string>): Promise<void>;
  /** Waits until the roll is as told, and answers how long that took. */
  expect(states: Record<string, string>, limitMs: number): Promise<number>;
}

async function world(t: TestContext, nodes: number): Promise<World> {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const fleet = await startFleet(t, nodes);
  const store = etcd.clientUrl.replace('http', 'etcd');
  const agents: Running[] = [];
  return {
    etcd,
    store,
    agents,
    ids: fleet.instanceIds,
    setFaults: fleet.setFaults,
    async start(n, args = [], ttlMs = TTL_MS) {
      const env = await fleet.environment(n);
      const agent = startRollcall(t, ['agent', '--store', store, '--presence-ttl', `${ttlMs / 1_000}s`, ...args], env);
      agents.push(agent);
      return agent;
    },
    expect: (states, limitMs) =>
      until(`the roll is ${JSON.stringify(states)}`, limitMs, async () => {
        assert.deepEqual(await rollStates(store), states);
        return true;
      }),
  };
}

function all(ids: readonly string[], state: string, others: Record<string, string> = {}): Record<string, string> {
  return { ...Object.fromEntries(ids.map((id) => [id, state])), ...others };
}

test('of three agents one is killed and lost, one is stopped and departed, and both come back', async (t) => {
  const w = await world(t, 3);
  const [a = '', b = '', c = ''] = w.ids;
  const [first, second] = [await w.start(1), await w.start(2), await w.start(3)];
  await w.expect(all(w.ids, 'present'), PATIENCE_MS);

  first.child.kill('SIGKILL');
  await w.expect(all(w.ids, 'present', { [a]: 'lost' }), TTL_MS + 1_000 + SLACK_MS);

  second.child.kill('SIGTERM');
  const [{ code }, stopMs] = await timed(second.ended);
  assert.equal(code, 0);
  // It is promised within one second; two are what it would wait for a store that does not answer.
  t.diagnostic(`an orderly stop took ${Math.round(stopMs)} ms`);
  assert.ok(stopMs < 2_000, `${Math.round(stopMs)} ms`);
  assert.deepEqual(await rollStates(w.store), { [a]: 'lost', [b]: 'departed', [c]: 'present' });
  const shown = await rollcall(['show', b, '-o', 'json', '--store', w.store]);
  const record = JSON.parse(shown.stdout);
  assert.equal(record.departure.cause, 'stopped');
  assert.match(record.containerInstanceArn, /^arn:aws:ecs:us-east-1:\d{12}:container-instance\/demo\//);
  assert.equal(record.presence.state, 'departed');

  await Promise.all([w.start(1), w.start(2)]);
  await w.expect(all(w.ids, 'present'), PATIENCE_MS);
});

test('a restart differs from a shutdown: by its cause, or by the return', async (t) => {
  const w = await world(t, 1);
  const first = await w.start(1);
  await w.expect(all(w.ids, 'present'), PATIENCE_MS);
  const watch = startRollcall(t, ['watch', '--store', w.store, '--types', 'registered,restarted,departed,synced']);
  const told = () =>
    watch
      .stdout()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .filter(({ snapshot, type }) => !snapshot && type !== 'rollcall.roll.synced')
      .map(({ type, data }) => `${type.replace('rollcall.instance.', '')} ${data.record.departure?.cause ?? '-'}`);
  await until('the watch has begun', PATIENCE_MS, () => watch.stdout().includes('synced'));

  // As the unit tells an agent that systemd is restarting it.
  first.child.kill('SIGUSR2');
  assert.equal((await first.ended).code, 0);
  const second = await w.start(1);
  await until('the restart is an event', PATIENCE_MS, () => told().length === 2);
  // As fleet replaces a unit: a stop, and a start soon after it.
  second.child.kill('SIGTERM');
  assert.equal((await second.ended).code, 0);
  await w.start(1);
  await until('the second one is an event', PATIENCE_MS, () => told().length === 4);
  assert.deepEqual(told(), ['departed restart', 'restarted -', 'departed stopped', 'restarted -']);
});

test('in an etcd outage longer than the TTL every agent keeps running, and the roll is complete within TTL + 1 s after it', async (t) => {
  const w = await world(t, 3);
  const agents = await Promise.all([1, 2, 3].map((n) => w.start(n)));
  await w.expect(all(w.ids, 'present'), PATIENCE_MS);
  const urls = await Promise.all(agents.map(agentUrl));
  // A reader reads the roll before the outage, so that the agent has one to tell of in it.
  await fetch(`${urls[0]}/v1/containerInstances`);

  await w.etcd.stop();
  await sleep(TTL_MS * 2);
  for (const [index, agent] of agents.entries()) {
    assert.equal(agent.child.exitCode, null);
    assert.equal(
      (await fetch(`${urls[index]}/healthz`)).status,
      200,
      'an outage of the store is no reason to be killed',
    );
    assert.equal((await fetch(`${urls[index]}/readyz`)).status, 503);
  }
  const { body: stale } = await getJson(`${urls[0]}/v1/containerInstances`);
  assert.equal(stale.stale, true);
  assert.equal(stale.containerInstances.length, 3);
  assert.ok(stale.ageMs >= TTL_MS, `the roll says its age: ${stale.ageMs} ms`);

  await w.etcd.restart();
  await w.expect(all(w.ids, 'present'), TTL_MS + 1_000 + SLACK_MS);
  // etcd starts the old leases again, so the roll may be whole before the agents have heard of it.
  for (const url of urls) {
    await until(
      `${url} is ready`,
      TTL_MS + 1_000 + SLACK_MS,
      async () => (await fetch(`${url}/readyz`)).status === 200,
    );
  }
});

test('an agent that starts during an etcd outage answers health requests, and registers when etcd is back', async (t) => {
  const w = await world(t, 1);
  await w.etcd.stop();
  const agent = await w.start(1);
  const url = await agentUrl(agent);
  await until('a call has failed', PATIENCE_MS, async () => {
    const { body } = await getJson(`${url}/v1/self`);
    return body.lease.lastError !== null;
  });
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
  const ready = await getJson(`${url}/readyz`);
  assert.equal(ready.status, 503);
  assert.match(ready.body.detail, /connection refused/);
  assert.equal((await fetch(`${url}/v1/containerInstances`)).status, 503);
  await w.etcd.restart();
  await w.expect(all(w.ids, 'present'), PATIENCE_MS);
});

test('an agent paused for longer than the TTL is lost, and back as soon as it continues', async (t) => {
  const w = await world(t, 1);
  const agent = await w.start(1);
  await w.expect(all(w.ids, 'present'), PATIENCE_MS);
  agent.child.kill('SIGSTOP');
  await w.expect(all(w.ids, 'lost'), TTL_MS + 1_000 + SLACK_MS);
  agent.child.kill('SIGCONT');
  await w.expect(all(w.ids, 'present'), 3_000 + SLACK_MS);
  assert.equal(agent.child.exitCode, null);
});

test('a second agent on the node takes over its registration; the first exits with status 3 and says why', async (t) => {
  const w = await world(t, 1);
  const old = await w.start(1);
  await w.expect(all(w.ids, 'present'), PATIENCE_MS);
  const young = await w.start(1);
  assert.equal((await old.ended).code, 3);
  assert.match(old.stderr(), /session [0-9a-f-]+ registered this node/);
  await sleep(TTL_MS + 1_000);
  assert.deepEqual(await rollStates(w.store), all(w.ids, 'present'));
  assert.equal(young.child.exitCode, null);
});

test('an agent whose etcd hangs still ends within three seconds after SIGTERM', async (t) => {
  const w = await world(t, 1);
  const agent = await w.start(1);
  await w.expect(all(w.ids, 'present'), PATIENCE_MS);
  await pauseProcess(w.etcd.pid);
  agent.child.kill('SIGTERM');
  const [{ code }, tookMs] = await timed(agent.ended);
  assert.equal(code, 0);
  t.diagnostic(`it took ${Math.round(tookMs)} ms`);
  assert.ok(tookMs < 3_000 + SLACK_MS, `it took ${Math.round(tookMs)} ms`);
  assert.match(agent.stderr(), /deregistration not confirmed/);
});

test('a dead ecs-agent makes the node critical on the roll and changes nothing else', async (t) => {
  const w = await world(t, 1);
  const [id = ''] = w.ids;
  await w.start(1, ['--introspection-interval', '1s']);
  await w.expect(all(w.ids, 'present'), PATIENCE_MS);
  await w.setFaults(id, { introspection: 'refuse' });
  const record = async () => JSON.parse((await rollcall(['show', id, '-o', 'json', '--store', w.store])).stdout);
  await until('the node is critical', 8_000 + SLACK_MS, async () => (await record()).health.status === 'critical');
  const critical = await record();
  assert.match(
    critical.health.checks.find((check: { name: string }) => check.name === 'ecs-agent').reason,
    /connection refused/,
  );
  assert.notEqual(critical.containerInstanceArn, null);
  assert.equal(critical.presence.state, 'present');
  await w.setFaults(id, { introspection: 'none' });
  await until('the node is well again', 5_000 + SLACK_MS, async () => (await record()).health.status === 'passing');
});

test('while nothing changes there are no writes: etcd’s Raft log does not grow over many heartbeats', async (t) => {
  const w = await world(t, 2);
  // Longer than elsewhere: on a busy machine a heartbeat may be late, and what registers anew writes.
  const agents = await Promise.all([1, 2].map((n) => w.start(n, [], 5_000)));
  const urls = await Promise.all(agents.map(agentUrl));
  const selves = async () => (await Promise.all(urls.map((url) => getJson(`${url}/v1/self`)))).map(({ body }) => body);
  const beats = async () => (await selves()).map(({ lease }): number => lease.counts.beats);
  const haveBeaten = async (times: number, limitMs: number) => {
    const before = await beats();
    await until(`${times} heartbeats of each`, limitMs, async () =>
      (await beats()).every((now, n) => now >= (before[n] ?? 0) + times),
    );
  };
  await until('each agent knows all of its node', PATIENCE_MS, async () =>
    (await selves()).every(
      ({ record, sources }) =>
        record.health.status === 'passing' && sources.every(({ reads }: { reads: number }) => reads > 0),
    ),
  );
  // What an agent has found out it writes before its next heartbeat but one.
  await haveBeaten(2, PATIENCE_MS);
  const before = await w.etcd.metric('etcd_server_proposals_committed_total');
  await haveBeaten(5, PATIENCE_MS);
  assert.equal(await w.etcd.metric('etcd_server_proposals_committed_total'), before);
  assert.deepEqual(await rollStates(w.store), all(w.ids, 'present'));
});
