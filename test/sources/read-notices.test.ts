import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { createImdsClient } from '../../src/sources/imds.ts';
import { readNotices } from '../../src/sources/notices.ts';
import { scaledClock } from '../support/scaled-clock.ts';
import { startRawServer } from './start-raw-server.ts';

const { signal } = new AbortController();

function openClient(t: TestContext, endpoint: string) {
  const client = createImdsClient({ endpoint, clock: scaledClock(0.25), allowV1: false });
  t.after(() => client.close());
  return client;
}

async function startNode(t: TestContext) {
  const simulator = await startSimulator({ nodes: 1, basePort: 0, cluster: 'demo', seed: 's', clock: systemClock });
  t.after(() => simulator.close());
  const [first] = simulator.nodes;
  assert.ok(first);
  return { simulator, id: first.node.instanceId, imds: openClient(t, first.imdsEndpoint) };
}

const none = {
  'spot-interruption': null,
  'asg-termination': null,
  maintenance: null,
  'rebalance-recommendation': null,
};

test('a node to which nothing was announced has none, in a group or not', async (t) => {
  const { simulator, id, imds } = await startNode(t);
  assert.deepEqual(await readNotices(imds, signal), { notices: none, failures: [] });
  await simulator.setNotices(id, { lifecycleState: null });
  assert.deepEqual(await readNotices(imds, signal), { notices: none, failures: [] });
});

test('all that was announced is read', async (t) => {
  const { simulator, id, imds } = await startNode(t);
  const event = { Code: 'instance-stop', NotBefore: '21 Jan 2027 09:00:43 GMT', Description: 'd', EventId: 'e' };
  await simulator.setNotices(id, {
    spot: { action: 'stop', time: '2026-11-22T10:26:18Z' },
    rebalance: { noticeTime: '2026-11-22T10:20:00Z' },
    maintenance: [{ ...event, State: 'active' }],
    lifecycleState: 'Terminated',
  });
  const { notices, failures } = await readNotices(imds, signal);
  assert.deepEqual(failures, []);
  assert.deepEqual(
    Object.entries(notices)
      .map(([kind, notice]) => [kind, notice?.kind, notice?.action, notice?.time])
      .sort(),
    [
      ['asg-termination', 'asg-termination', 'terminate', null],
      ['maintenance', 'maintenance', 'instance-stop', '2027-01-21T09:00:43.000Z'],
      ['rebalance-recommendation', 'rebalance-recommendation', null, '2026-11-22T10:20:00.000Z'],
      ['spot-interruption', 'spot-interruption', 'stop', '2026-11-22T10:26:18.000Z'],
    ],
  );
});

/** No notices but for the paths that `special` answers. */
const startLeaves = (t: TestContext, special: Readonly<Record<string, (res: ServerResponse) => void>>) =>
  startRawServer(t, (req, res) => {
    const path = req.url?.replace('/latest/', '').replace('meta-data/', '') ?? '';
    if (path === 'api/token') res.end('TOKEN');
    else if (special[path]) special[path](res);
    else res.writeHead(404).end();
  });

test('a leaf that cannot be read is absent and named; the others are read', async (t) => {
  const server = await startLeaves(t, {
    'spot/instance-action': (res) => res.writeHead(500).end(),
    'events/maintenance/scheduled': () => {}, // never answers
    'autoscaling/target-lifecycle-state': (res) => res.end('Terminated'),
  });
  const { notices, failures } = await readNotices(openClient(t, server.endpoint), signal);
  assert.deepEqual(Object.keys(notices).sort(), ['asg-termination', 'rebalance-recommendation']);
  assert.equal(notices['asg-termination']?.action, 'terminate');
  assert.equal(failures.length, 2);
  assert.match(
    failures.join('\n'),
    /maintenance\/scheduled at .*: no answer within 700 ms\n.*instance-action: HTTP 500/,
  );
});

test('a service that is not there is one failure, not four, and says nothing of any notice', async (t) => {
  const { simulator, id, imds } = await startNode(t);
  await simulator.setFault(id, { imds: 'refuse' });
  const { notices, failures } = await readNotices(imds, signal);
  assert.deepEqual(notices, {});
  assert.equal(failures.length, 1);
  assert.match(failures[0] ?? '', /connection refused/);
});

for (const fault of ['html', 'wrong-type', 'error500', 'truncated', 'oversized'] as const) {
  test(`with the fault ${fault} nothing is believed that was not announced`, async (t) => {
    const { simulator, id, imds } = await startNode(t);
    await simulator.setFault(id, { imds: fault });
    const { notices } = await readNotices(imds, signal);
    assert.deepEqual(Object.values(notices).filter(Boolean), []);
  });
}
