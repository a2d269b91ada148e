import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { AgentConfig } from '../../src/agent/agent-config.ts';
import { NO_ACCESS_FILES } from '../../src/http/access.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { openStore } from '../../src/store/open-store.ts';
import { until } from '../support/machine-time.ts';
import { startOwned } from '../support/owned-process.ts';
import { CLEAN_ENV, getJson, PATIENCE_MS } from '../support/rollcall-process.ts';
import { type EcsSimulationForTest, startEcsSimulation } from '../support/start-ecs-simulation.ts';

const AGENT = fileURLToPath(new URL('./audited-agent.ts', import.meta.url));
const never = new AbortController().signal;
/** The real ones are a minute and five. */
const LIMITS = { pollIntervalMs: 1_000, criticalAfterMs: 5_000 };
const CHECK = 'ecs-connection';

/** Three real agents of one store, each a process, that audit a simulated ECS, asked through the SDK. */
async function startFleet(t: TestContext) {
  const ecs: EcsSimulationForTest = await startEcsSimulation(t, { nodes: 3 });
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-connection-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const path = join(dir, 'roll.db');
  const stores = { kind: 'sqlite', label: `sqlite:${path}`, path } as const;
  const store = await openStore(stores, { clock: systemClock, random: Math.random, create: true, signal: never });
  t.after(() => store.close());
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
    const argv = [process.execPath, '--disable-warning=ExperimentalWarning', AGENT, JSON.stringify(config)] as const;
    const { child, stop } = startOwned(t, argv, { ...CLEAN_ENV, ...ecs.env });
    let said = '';
    for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk) => (said += chunk));
    const urlOf = () => /"url":"(http:[^"]+)"/.exec(said)?.[1];
    await until('the agent answers', PATIENCE_MS, () => {
      assert.equal(child.exitCode, null, said);
      return urlOf() !== undefined;
    });
    const url = urlOf() ?? '';
    const self = async () => (await getJson(`${url}/v1/self`)).body;
    return { id: node.instanceId, url, self, kill: () => stop('SIGKILL') };
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

  // The leader is killed: the next one takes over what the store has, which counts again once it has asked ECS itself.
  const { reason } = await checkOf(first.id);
  await ecs.control('PUT', '/ecs/faults', { ListContainerInstances: 'throttle' });
  await leader.kill();
  await until('another one leads', PATIENCE_MS, async () => (await leaderAmong([first, second])) !== null);
  await becomes(first.id, 'warning', /, as last seen; /);
  await ecs.control('PUT', '/ecs/faults', { ListContainerInstances: 'none' });
  await becomes(first.id, 'critical');
  assert.equal((await checkOf(first.id)).reason, reason, 'since when and for how long stays');

  await ecs.control('PUT', '/ecs/faults', { ListContainerInstances: 'throttle' });
  await becomes(first.id, 'warning', /, as last seen; no agent could ask ECS since \S+: /);
  await ecs.control('PUT', '/ecs/faults', { ListContainerInstances: 'none' });
  await connect(first.id, true);
  await becomes(first.id, 'passing');
  assert.equal((await checkOf(second.id)).status, 'passing');
});
