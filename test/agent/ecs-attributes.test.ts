import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { denied, fakeAgentEcs } from '../support/fake-agent-ecs.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { startWorld } from './start-agent.ts';

async function start(t: TestContext, prepare: (ecs: ReturnType<typeof fakeAgentEcs>) => void = () => {}) {
  const world = await startWorld(t);
  const ecs = fakeAgentEcs();
  ecs.knowsAll = true;
  prepare(ecs);
  const labels = { role: 'node', odd: 'a+b', bare: '' };
  const agent = await world.startAgent({
    openEcs: async () => ecs,
    config: { ecsAttributes: true, labels, noticeIntervalMs: 30 },
  });
  await until('the ARN is known', PATIENCE_MS, async () => Boolean((await world.record())?.containerInstanceArn));
  const arn = (await world.record())?.containerInstanceArn ?? '';
  return { world, ecs, agent, arn, report: async () => (await agent.self()).ecsAttributes };
}

test('health and labels are attributes, once; what ECS cannot have is logged once; leaving writes departed', async (t) => {
  const { world, ecs, agent, arn, report } = await start(t);
  await until('they are there', PATIENCE_MS, async () => (await report()).state === 'current');
  const expected = { 'ecs.os-type': 'linux', 'rollcall.label.bare': null, 'rollcall.label.role': 'node' };
  assert.deepEqual(ecs.attributes(arn), { ...expected, 'rollcall.health': (await world.record())?.health.status });
  const calls = ecs.calls.length;
  await until('it has polled on', PATIENCE_MS, async () => (await agent.reads('notices')) > 10);
  assert.equal(ecs.calls.length, calls, 'nothing is written while nothing changes');
  assert.equal(agent.log().filter((line) => line.includes('left out: label odd')).length, 1);
  await agent.leave();
  assert.equal(ecs.attributes(arn)['rollcall.health'], 'departed');
  assert.equal((await world.record())?.departure?.cause, 'stopped');
});

test('where ECS denies it, the agent is well, says so once, and leaves in time', async (t) => {
  const { world, ecs, agent, report } = await start(t, (fake) => {
    fake.failing.set('ecs:PutAttributes', denied('ecs:PutAttributes'));
  });
  await until('it fails', PATIENCE_MS, async () => (await report()).state === 'failing');
  await until('it has polled on', PATIENCE_MS, async () => (await agent.reads('notices')) > 10);
  assert.equal(ecs.calls.filter((call) => call.startsWith('put')).length, 1, 'not tried again for minutes');
  assert.equal(agent.log().filter((line) => line.includes('AccessDenied')).length, 1);
  assert.equal(await (await fetch(`${agent.url}/healthz`)).status, 200);
  await agent.leave();
  assert.equal((await world.record())?.departure?.cause, 'stopped');
});

test('a deregistration that ECS does not answer does not hold up the departure', async (t) => {
  const { world, ecs, agent, report } = await start(t);
  await until('they are there', PATIENCE_MS, async () => (await report()).state === 'current');
  ecs.putAttributes = () => new Promise(() => {});
  await agent.leave();
  assert.equal((await world.record())?.departure?.cause, 'stopped');
  assert.deepEqual(
    agent.log().filter((line) => line.includes('deregistration not confirmed')),
    [],
  );
});

test('a wiped ecs-agent: the new container instance gets them all', async (t) => {
  const { world, ecs, arn, report } = await start(t);
  await until('they are there', PATIENCE_MS, async () => (await report()).state === 'current');
  await world.wipeEcsAgent();
  const arnNow = async () => (await world.record())?.containerInstanceArn ?? arn;
  await until('it has a new ARN', PATIENCE_MS, async () => (await arnNow()) !== arn);
  const fresh = await arnNow();
  await until('the new one has them', PATIENCE_MS, async () => ecs.attributes(fresh)['rollcall.label.role'] === 'node');
});
