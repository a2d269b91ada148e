import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Notices } from '../../src/simulator/simulated-node.ts';
import { startRawServer } from '../sources/start-raw-server.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { scaledClock } from '../support/scaled-clock.ts';
import { startWorld } from './start-agent.ts';

const event = { Code: 'system-reboot', NotBefore: '21 Jan 2020 09:00:43 GMT', Description: 'd', EventId: 'e' };
/** Under way, and announced long before. */
const active: Partial<Notices> = { maintenance: [{ ...event, State: 'active' }] };
const announced: Partial<Notices> = {
  maintenance: [{ ...event, NotBefore: '21 Jan 2099 09:00:43 GMT', State: 'active' }],
};

const cases: readonly [string, Partial<Notices>, string, string][] = [
  [
    'spot-interruption',
    { spot: { action: 'stop', time: '2026-11-22T10:26:18Z' }, ...active },
    'stop',
    'spot-interruption',
  ],
  ['asg-termination', { lifecycleState: 'Terminated', ...active }, 'terminate', 'asg-termination'],
  ['maintenance', active, 'system-reboot', 'maintenance'],
  ['maintenance', announced, 'system-reboot', 'stopped'],
  ['rebalance-recommendation', { rebalance: { noticeTime: '2026-11-22T10:26:18Z' } }, 'null', 'stopped'],
];
for (const [kind, notices, action, cause] of cases) {
  test(`a notice of ${kind} is in the record, and a departure after it says ${cause}`, async (t) => {
    const world = await startWorld(t);
    const agent = await world.startAgent();
    assert.equal((await world.record())?.interruption, null);
    await world.setNotices(notices);
    // A read under way may see only one of two notices, and the next the more urgent.
    await until('it is published', PATIENCE_MS, async () => (await world.record())?.interruption?.kind === kind);
    const told = await world.record();
    assert.equal(String(told?.interruption?.action), action);
    assert.equal(agent.log().filter((line) => line.startsWith(`EC2 notice: ${kind}`)).length, 1);
    await agent.leave();
    const departed = await world.record();
    assert.equal(departed?.departure?.cause, cause);
    assert.deepEqual(departed?.interruption, told?.interruption);
  });
}

test('maintenance that is completed or cancelled is none: it goes from the record, and is no cause', async (t) => {
  const world = await startWorld(t);
  const agent = await world.startAgent();
  for (const State of ['completed', 'canceled'] as const) {
    await world.setNotices(active);
    await until(
      'the notice is published',
      PATIENCE_MS,
      async () => (await world.record())?.interruption?.kind === 'maintenance',
    );
    await world.setNotices({ maintenance: [{ ...event, State }] });
    await until('the notice is gone', PATIENCE_MS, async () => (await world.record())?.interruption === null);
  }
  await agent.leave();
  assert.equal((await world.record())?.departure?.cause, 'stopped');
});

test('a notice stays while IMDS cannot be read, without a write, and goes when it is read as none', async (t) => {
  const world = await startWorld(t);
  const agent = await world.startAgent();
  await world.setNotices({ lifecycleState: 'Terminated' });
  await until('the notice is published', PATIENCE_MS, async () => (await world.record())?.interruption !== null);
  await world.setNotices({ lifecycleState: 'InService' });
  await world.setFault({ imds: 'error500' });
  const writes = world.records();
  const failing = async () =>
    (await agent.self()).sources.find((s: { name: string }) => s.name === 'notices').lastError;
  await until('reads fail', PATIENCE_MS, async () => (await failing()) !== null);
  const reads = await agent.reads('notices');
  await until('they fail for a while', PATIENCE_MS, async () => (await agent.reads('notices')) > reads + 5);
  assert.equal((await world.record())?.interruption?.kind, 'asg-termination');
  assert.ok(writes.every(({ interruption }) => interruption === null || interruption.kind === 'asg-termination'));
  await world.setFault({ imds: 'none' });
  await until('the notice is gone', PATIENCE_MS, async () => (await world.record())?.interruption === null);
  // A read that takes too long on a busy machine is an outage of its own.
  const told = agent.log().filter((line) => /^notices(: | answers again)/.test(line));
  const again = told.filter((line, index) => line.startsWith('notices: ') && told[index - 1]?.startsWith('notices: '));
  assert.deepEqual(again, [], 'one outage, one line');
  assert.ok(told.length > 0);
});

test('an agent that starts on a node with a notice registers with it, and writes once, also where the notice comes last', async (t) => {
  // The half second for which it waits for a first read of the notices is two and a half: a busy machine is not late.
  const world = await startWorld(t, scaledClock(0.2));
  const imds = await startRawServer(t, (req, res) => {
    const path = req.url?.replace(/^\/latest\/(meta-data\/)?/, '') ?? '';
    if (path === 'api/token') res.end('TOKEN');
    else if (path === 'instance-id') res.end('i-0123456789abcdef0');
    else if (path === 'local-ipv4') res.end('10.113.0.23');
    else if (path === 'autoscaling/target-lifecycle-state') setTimeout(() => res.end('Terminated'), 250);
    else res.writeHead(404).end();
  });
  const records = world.records();
  const agent = await world.startAgent({ config: { metadataEndpoint: imds.endpoint } });
  const reads = await agent.reads('notices');
  await until('it has read more', PATIENCE_MS, async () => (await agent.reads('notices')) > reads + 1);
  await until('the watch has sent the record', PATIENCE_MS, () => records.length > 0);
  assert.equal(records.length, 1);
  assert.equal(records[0]?.interruption?.kind, 'asg-termination');
  assert.match(records[0]?.containerInstanceArn ?? '', /^arn:/);
});
