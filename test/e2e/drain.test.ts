import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { DrainConfig } from '../../src/agent/drain/cause.ts';
import type { Probe } from '../../src/checks/probe.ts';
import { drainByHand, planHandDrain, planHandUndrain, undrainByHand } from '../../src/cli/drain-by-hand.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { startWorld } from '../agent/start-agent.ts';
import { denied, fakeAgentEcs, noAnswer } from '../support/fake-agent-ecs.ts';
import { flakyStore } from '../support/flaky-store.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';

const { signal } = new AbortController();
const spot = { spot: { action: 'terminate', time: '2026-11-22T10:26:18Z' } } as const;
const drain: DrainConfig = { on: ['interruption', 'critical'], criticalAfterMs: 300, maxSharePercent: 10 };

async function start(t: TestContext, config: Partial<DrainConfig> = {}, more: { probes?: Probe[] } = {}) {
  const world = await startWorld(t);
  const ecs = fakeAgentEcs();
  const network = flakyStore(world.store);
  const startAgent = () =>
    world.startAgent({ ...more, network, openEcs: async () => ecs, config: { drain: { ...drain, ...config } } });
  const agent = await startAgent();
  await until('the ARN is known', PATIENCE_MS, async () => Boolean((await world.record())?.containerInstanceArn));
  const arn = (await world.record())?.containerInstanceArn ?? '';
  ecs.add(arn);
  const claim = async () => (await world.store.drainSlots.read(world.instanceId, signal))?.claim ?? null;
  return { world, ecs, agent, arn, claim, network, startAgent, state: async () => (await agent.self()).drain.state };
}

test('a spot notice drains the node, and its end makes the node active again', async (t) => {
  const { world, ecs, agent, arn, claim, state } = await start(t);
  assert.equal(await state(), 'idle');
  assert.deepEqual(ecs.calls, [], 'nothing is asked while there is no cause');
  await world.setNotices(spot);
  await until('it drains', PATIENCE_MS, async () => (await state()) === 'draining');
  assert.equal(ecs.status(arn), 'DRAINING');
  assert.equal((await claim())?.phase, 'drained');
  assert.match((await claim())?.reason ?? '', /^spot-interruption terminate/);
  await world.setNotices({ spot: null });
  await until('it is active again', PATIENCE_MS, async () => ecs.status(arn) === 'ACTIVE' && (await claim()) === null);
  await until('the state is idle', PATIENCE_MS, async () => (await state()) === 'idle');
  assert.deepEqual(ecs.calls, ['describe', 'DRAINING', 'ACTIVE']);
  assert.ok(agent.log().some((line) => line.startsWith('drain: draining: spot-interruption')));
});

test('a node that is critical for long drains, and is active again when it was not critical for as long', async (t) => {
  let status: 'critical' | 'passing' = 'passing';
  const probe: Probe = {
    ...{ name: 'app', intervalMs: 50, timeoutMs: 1_000 },
    run: async () => ({ status, reason: status === 'passing' ? '' : 'down' }),
  };
  const { ecs, arn, state } = await start(t, {}, { probes: [probe] });
  status = 'critical';
  await until('it drains', PATIENCE_MS, async () => (await state()) === 'draining');
  status = 'passing';
  await until('it is active again', PATIENCE_MS, async () => ecs.status(arn) === 'ACTIVE');
});

test('without a free slot the agent waits without calling ECS, and drains when a slot is free', async (t) => {
  const { world, ecs, agent, state } = await start(t);
  const other = { ...(await world.record()), ec2InstanceId: 'i-00000001' };
  const registration = { instanceId: 'i-00000001', session: 's', since: '2026-01-01T00:00:00Z', ttlMs: 600_000 };
  const record = other as NonNullable<Awaited<ReturnType<typeof world.record>>>;
  await world.store.register({ ...registration, retentionMs: 3_600_000 }, record, { takeover: true, signal });
  const claim = { phase: 'drained' as const, arn: 'other', cluster: 'demo', reason: 'r', since: 's', session: 's' };
  const taken = await world.store.drainSlots.take({ instanceId: 'i-00000001', claim, maxSharePercent: 1 }, signal);
  assert.ok(taken.kind === 'taken');
  await world.setNotices(spot);
  await until('it waits', PATIENCE_MS, async () => (await state()) === 'waiting');
  const full = '1 of 1 drain slots of demo are taken: i-00000001';
  await until('it says so', PATIENCE_MS, async () => (await agent.self()).drain.reason === full);
  assert.deepEqual(ecs.calls, []);
  assert.equal(agent.log().filter((line) => line === `drain: waiting: ${full}`).length, 1);
  await world.store.drainSlots.giveBack(taken.held, signal);
  await until('it drains', 60_000, async () => (await state()) === 'draining');
});

test('during a store outage nothing is drained, and the agent stays healthy', async (t) => {
  const { world, ecs, agent, network, state } = await start(t);
  network.network = 'refuse';
  await world.setNotices(spot);
  await until('it waits', PATIENCE_MS, async () => (await agent.self()).drain.reason.startsWith('retrying: '));
  assert.equal(await state(), 'waiting');
  assert.deepEqual(ecs.calls, []);
  network.network = 'up';
  await until('it drains', 30_000, async () => (await state()) === 'draining');
});

test('an agent that ends keeps the node drained, and the next one makes it active when the cause is over', async (t) => {
  const { world, ecs, agent, arn, claim, state, startAgent } = await start(t);
  await world.setNotices(spot);
  await until('it drains', PATIENCE_MS, async () => (await state()) === 'draining');
  await agent.leave();
  assert.equal(ecs.status(arn), 'DRAINING');
  assert.equal((await claim())?.phase, 'drained');
  const next = await startAgent();
  await until('the next one knows', PATIENCE_MS, async () => (await next.self()).drain.state === 'draining');
  await world.setNotices({ spot: null });
  await until('it is active again', PATIENCE_MS, async () => ecs.status(arn) === 'ACTIVE' && (await claim()) === null);
});

test('after a lost checkpoint the new container instance is drained, and the old one is forgotten', async (t) => {
  const { world, ecs, arn, claim, state } = await start(t);
  await world.setNotices(spot);
  await until('it drains', PATIENCE_MS, async () => (await state()) === 'draining');
  ecs.knowsAll = true;
  await world.wipeEcsAgent();
  const arnNow = async () => (await world.record())?.containerInstanceArn ?? arn;
  await until('it has a new ARN', PATIENCE_MS, async () => (await arnNow()) !== arn);
  const fresh = await arnNow();
  await until('the new one drains', 60_000, async () => ecs.status(fresh) === 'DRAINING');
  await until('it is claimed', PATIENCE_MS, async () => (await claim())?.phase === 'drained');
  assert.equal((await claim())?.arn, fresh);
});

test('if ECS denies the drain the slot is released at once, and the agent stays healthy', async (t) => {
  const { world, ecs, agent, arn, claim, state } = await start(t);
  ecs.failing.set('ecs:UpdateContainerInstancesState', denied('ecs:UpdateContainerInstancesState'));
  await world.setNotices(spot);
  await until('it is denied', PATIENCE_MS, async () => (await agent.self()).drain.reason.includes('AccessDenied'));
  await until('the slot is free', PATIENCE_MS, async () => (await claim()) === null);
  await until('it waits', PATIENCE_MS, async () => (await state()) === 'waiting');
  assert.equal(ecs.status(arn), 'ACTIVE');
  assert.deepEqual(ecs.calls, ['describe', 'DRAINING']);
  assert.equal((await fetch(`${agent.url}/healthz`)).status, 200);
});

test('a node that an operator drained is left alone, also when the cause is over', async (t) => {
  const { world, ecs, arn, claim, state } = await start(t);
  ecs.set(arn, { status: 'DRAINING' });
  await world.setNotices(spot);
  await until('it leaves it alone', PATIENCE_MS, async () => (await state()) === 'left-alone');
  assert.equal(await claim(), null);
  await world.setNotices({ spot: null });
  await until('the cause is over', PATIENCE_MS, async () => (await state()) === 'idle');
  assert.deepEqual(ecs.calls, ['describe']);
  assert.equal(ecs.status(arn), 'DRAINING');
});

test('after a lost answer ECS is asked again, and the drain counts as rollcall’s', async (t) => {
  const { world, ecs, claim, state } = await start(t);
  const update = ecs.updateContainerInstancesState;
  ecs.updateContainerInstancesState = async (...args) => {
    ecs.updateContainerInstancesState = update;
    await update(...args);
    throw noAnswer('ecs:UpdateContainerInstancesState');
  };
  await world.setNotices(spot);
  await until('it drains', PATIENCE_MS, async () => (await state()) === 'draining');
  assert.equal((await claim())?.phase, 'drained');
  assert.deepEqual(ecs.calls, ['describe', 'DRAINING', 'describe']);
});

test('a cause that returns while the node is made active drains it again, and does not count as undone by an operator', async (t) => {
  const { world, ecs, agent, arn, state } = await start(t);
  await world.setNotices(spot);
  await until('it drains', PATIENCE_MS, async () => (await state()) === 'draining');
  const update = ecs.updateContainerInstancesState;
  ecs.updateContainerInstancesState = async (...args) => {
    ecs.updateContainerInstancesState = update;
    await world.setNotices(spot);
    await until('it is known', PATIENCE_MS, async () => Boolean((await world.record())?.interruption));
    await update(...args);
    throw noAnswer('ecs:UpdateContainerInstancesState');
  };
  await world.setNotices({ spot: null });
  await until('it was made active', PATIENCE_MS, async () => ecs.calls.includes('ACTIVE'));
  await until('it drains again', 30_000, async () => ecs.status(arn) === 'DRAINING' && (await state()) === 'draining');
  assert.ok(!agent.log().some((line) => line.includes('left-alone')), agent.log().join('\n'));
});

test('a node outside EC2, which has no notices, is active again when it was not critical for long', async (t) => {
  let status: 'critical' | 'passing' = 'critical';
  const probe: Probe = {
    ...{ name: 'app', intervalMs: 50, timeoutMs: 1_000 },
    run: async () => ({ status, reason: status === 'passing' ? '' : 'down' }),
  };
  const world = await startWorld(t);
  const ecs = fakeAgentEcs();
  ecs.knowsAll = true;
  const identity = {
    ...{ kind: 'external' as const, instanceId: 'mi-0123456789abcdef0', registrationFile: '/nonexistent' },
    privateIpAddress: '10.0.0.9',
  };
  const config = { identity, drain };
  const agent = await world.startAgent({ probes: [probe], openEcs: async () => ecs, config });
  const state = async () => (await agent.self()).drain.state;
  await until('it drains', PATIENCE_MS, async () => (await state()) === 'draining');
  status = 'passing';
  await until('it is active again', PATIENCE_MS, async () => (await state()) === 'idle');
  assert.equal([...ecs.instances.values()][0]?.status, 'ACTIVE');
});

/** `rollcall drain` and `undrain` of the node, on the store and the ECS of its agent. */
function operatorOf({ world, ecs, arn }: Awaited<ReturnType<typeof start>>) {
  const target = { instanceId: world.instanceId, arn, cluster: 'demo' };
  const kept = { label: null, note: null };
  const deps = { slots: world.store.drainSlots, ecs, clock: systemClock, kept };
  const held = () => deps.slots.read(world.instanceId, signal);
  const facts = async () => ({ claim: await held(), status: ecs.status(arn) ?? '', force: false });
  return {
    async drain() {
      const known = await facts();
      const plan = planHandDrain({ ...known, target, room: { free: true, reason: '' } });
      assert.ok(plan.kind === 'drain', plan.kind);
      const claim = {
        phase: 'manual' as const,
        arn,
        cluster: 'demo',
        reason: 'by hand',
        since: 's',
        session: 'operator',
      };
      await drainByHand(deps, target, plan, known.claim, { claim, maxSharePercent: 100 }, signal);
    },
    async undrain() {
      const known = await facts();
      const record = (await world.record()) ?? assert.fail();
      const plan = planHandUndrain({ ...known, target, record });
      assert.ok(plan.kind === 'undrain', plan.kind);
      await undrainByHand(deps, target, plan, known.claim, record, signal);
    },
  };
}

test('a drain by hand outlives the cause for which the agent had drained, and a new cause', async (t) => {
  const node = await start(t);
  const { world, ecs, arn, claim, state, agent } = node;
  const operator = operatorOf(node);
  await world.setNotices(spot);
  await until('it drains', PATIENCE_MS, async () => (await state()) === 'draining');
  await operator.drain();
  await world.setNotices({ spot: null });
  await until('the agent leaves it alone', PATIENCE_MS, async () => (await state()) === 'left-alone');
  assert.equal((await agent.self()).drain.reason, 'by hand');
  await world.setNotices(spot);
  await until('the cause is known', PATIENCE_MS, async () => Boolean((await world.record())?.interruption));
  await world.setNotices({ spot: null });
  await until('the cause is over', PATIENCE_MS, async () => (await world.record())?.interruption === null);
  assert.deepEqual([ecs.status(arn), (await claim())?.phase, await state()], ['DRAINING', 'manual', 'left-alone']);
  await operator.undrain();
  assert.deepEqual([ecs.status(arn), await claim()], ['ACTIVE', null]);
  assert.deepEqual(
    ecs.calls.filter((call) => call !== 'describe'),
    ['DRAINING', 'ACTIVE'],
  );
});

test('an undrain by hand outlives the cause, and the agent drains for the next one', async (t) => {
  const node = await start(t);
  const { world, ecs, arn, claim, state, startAgent, agent } = node;
  await world.setNotices(spot);
  await until('it drains', PATIENCE_MS, async () => (await state()) === 'draining');
  await operatorOf(node).undrain();
  assert.deepEqual([ecs.status(arn), (await claim())?.phase], ['ACTIVE', 'overruled']);
  // The next agent reads the claim; this one would read ECS only after minutes.
  await agent.leave();
  const next = await startAgent();
  await until('it leaves it alone', PATIENCE_MS, async () => (await next.self()).drain.state === 'left-alone');
  await world.setNotices({ spot: null });
  await until('the claim is gone', PATIENCE_MS, async () => (await claim()) === null);
  await world.setNotices(spot);
  await until('it drains', PATIENCE_MS, async () => (await next.self()).drain.state === 'draining');
  assert.equal(ecs.status(arn), 'DRAINING');
});
