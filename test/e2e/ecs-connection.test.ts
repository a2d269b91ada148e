import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { AgentConfig } from '../../src/agent/agent-config.ts';
import { runAgent } from '../../src/agent/run-agent.ts';
import { openEcsApi } from '../../src/ecs/open-ecs-api.ts';
import { NO_ACCESS_FILES } from '../../src/http/access.ts';
import { createCell } from '../../src/lib/cell.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { openStore } from '../../src/store/open-store.ts';
import { keptLog } from '../support/kept-log.ts';
import { until } from '../support/machine-time.ts';
import { getJson, PATIENCE_MS } from '../support/rollcall-process.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { type EcsSimulationForTest, startEcsSimulation } from '../support/start-ecs-simulation.ts';

const never = new AbortController().signal;
/** The real ones are a minute and five. */
const LIMITS = { pollIntervalMs: 1_000, criticalAfterMs: 5_000 };
const CHECK = 'ecs-connection';

/** Three real agents of one memory store that take part in the continuous audit of a simulated ECS, asked through the SDK. */
async function startFleet(t: TestContext) {
  const ecs: EcsSimulationForTest = await startEcsSimulation(t, { nodes: 3 });
  Object.assign(process.env, ecs.env); // where the SDK reads it
  const stores = { kind: 'memory', label: 'memory:', name: randomUUID() } as const;
  const store = await openStore(stores, { clock: systemClock, random: seededRandom(1), create: true, signal: never });
  const ends: Promise<unknown>[] = [];
  const stops: AbortController[] = [];
  t.after(async () => {
    for (const stop of stops) stop.abort(new Error('the test ended'));
    await Promise.all(ends);
    await store.close();
  });
  const start = async ({ node, imdsEndpoint, introspectionEndpoint }: (typeof ecs.simulator.nodes)[number]) => {
    const config: AgentConfig = {
      ...{ store: stores, presenceTtlMs: 4_000, retentionMs: 86_400_000, listen: { host: '127.0.0.1', port: 0 } },
      access: NO_ACCESS_FILES,
      ...{ labels: {}, identity: { kind: 'ec2' }, cluster: null, machineIdFile: '/nonexistent', allowImdsV1: false },
      ...{ metadataEndpoint: imdsEndpoint, metadataIntervalMs: 5_000, noticeIntervalMs: 5_000 },
      ...{ introspectionEndpoint, introspectionIntervalMs: 500, massLoss: null, ecsAttributes: false },
      checks: { dockerSocket: null, disk: null, http: [], exec: [], intervalMs: 1, timeoutMs: 1, rise: 2, fall: 3 },
      audit: { intervalMs: 60_000, clusters: ['demo'], limits: LIMITS },
      ecs: { region: 'us-east-1', profile: null },
      drain: { on: ['critical'], criticalAfterMs: 100, maxSharePercent: 50 },
    };
    const lines: { url?: string }[] = [];
    const stop = new AbortController();
    stops.push(stop);
    const ended = runAgent(
      config,
      {
        ...{
          store,
          clock: systemClock,
          random: Math.random,
          log: keptLog<(typeof lines)[number]>((line) => lines.push(line)),
        },
        ...{ version: '1', session: randomUUID(), leaving: createCell(false), probes: [], notify: null },
        openEcs: (settings) => openEcsApi(settings, { clock: systemClock, env: process.env }),
        residentBytes: () => process.memoryUsage.rss(),
      },
      stop.signal,
    );
    ends.push(ended.catch(() => {}));
    await until('the agent answers', PATIENCE_MS, () => lines.some(({ url }) => url));
    const url = lines.find((line) => line.url)?.url ?? '';
    const self = async () => (await getJson(`${url}/v1/self`)).body;
    return { id: node.instanceId, url, self, stop };
  };
  const agents = await Promise.all(ecs.simulator.nodes.map(start));
  const checkOf = async (id: string) => {
    const record = (await store.readOne(id, never)).entry?.record;
    const { status = 'none', reason = '' } = record?.health.checks.find(({ name }) => name === CHECK) ?? {};
    return { status, reason, health: record?.health.status };
  };
  const leads = async ({ url }: (typeof agents)[number]) =>
    /^rollcall_audit_leader 1$/m.test(await (await fetch(`${url}/metrics`)).text());
  const leaderAmong = async (some: typeof agents) => {
    for (const agent of some) if (await leads(agent)) return agent;
    return null;
  };
  return { ecs, agents, checkOf, leaderAmong };
}

test('what ECS says of a node’s connection is its health: short, long, throttled, and while the leader is killed', async (t) => {
  const { ecs, agents, checkOf, leaderAmong } = await startFleet(t);
  for (const { id } of agents) {
    await until(`${id} is connected`, PATIENCE_MS, async () => (await checkOf(id)).status === 'passing');
  }
  const leader = await leaderAmong(agents);
  const [first, second] = agents.filter((agent) => agent !== leader);
  assert.ok(leader && first && second);
  const connect = (id: string, agentConnected: boolean) =>
    ecs.control('PUT', `/ecs/instances/${id}`, { agentConnected });
  const becomes = (id: string, status: string, reason = /./) =>
    until(`${id} is ${status}: ${reason}`, PATIENCE_MS, async () => {
      const check = await checkOf(id);
      return check.status === status && (status === 'passing' || reason.test(check.reason));
    });

  // Four fifths of the limit: seen back before a look could make it critical.
  await connect(first.id, false);
  await becomes(first.id, 'warning', /^ECS has ecs-agent disconnected since \S+$/);
  assert.equal((await checkOf(first.id)).health, 'warning');
  await connect(first.id, true);
  await becomes(first.id, 'passing');
  assert.equal((await first.self()).drain.state, 'idle');

  await connect(first.id, false);
  await becomes(first.id, 'critical', /, for more than 5s$/);
  const drained = async () => {
    const instance: { status: string } = await ecs.control('GET', `/ecs/instances/${first.id}`);
    return instance.status === 'DRAINING';
  };
  await until('it drains', PATIENCE_MS, async () => (await first.self()).drain.state === 'draining');
  assert.ok(await drained());

  // Its leader is killed: the next one takes over what the store has, and confirms it.
  leader.stop.abort(new Error('killed'));
  await becomes(first.id, 'warning', /, as last seen; /);
  await becomes(first.id, 'critical');
  assert.ok(await leaderAmong([first, second]));

  await ecs.control('PUT', '/ecs/faults', { ListContainerInstances: 'throttle' });
  await becomes(first.id, 'warning', /, as last seen; no agent could ask ECS since \S+: /);
  await ecs.control('PUT', '/ecs/faults', { ListContainerInstances: 'none' });
  await connect(first.id, true);
  await becomes(first.id, 'passing');
  assert.equal((await checkOf(second.id)).status, 'passing');
});
