import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fleetAudit } from '../../../src/audit/fleet-audit/fleet.ts';
import { emptyAuditMemory } from '../../../src/audit/history.ts';
import { clusterName } from '../../../src/ecs/arn.ts';
import type { EcsApi, Failure } from '../../../src/ecs/ecs-api.ts';
import { EcsError } from '../../../src/ecs/ecs-errors.ts';
import { createPacer } from '../../../src/lib/pacer.ts';
import { fakeEcs } from '../../support/fake-ecs.ts';
import { fakeStore } from '../../support/fake-store.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

const CONFIG = { clusters: 'roll', intervalMs: 300_000 } as const;
const { signal } = new AbortController();
const PRESENCE = { session: 'a', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
const departure = { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } as const;
const node = (n: number, overrides = {}, presence: typeof PRESENCE | null = PRESENCE) => ({
  record: sampleRecord({ ec2InstanceId: sampleInstanceId(n), ...overrides }),
  presence,
});

test('by default the clusters are those of present and lost nodes, as far as ECS has them', async () => {
  const clock = simulatedClock();
  const ecs = fakeEcs(0, clock.monotonicMs);
  const auditOf = async (...entries: readonly ReturnType<typeof node>[]) => {
    const store = fakeStore();
    store.commit([...entries]);
    const running = fleetAudit({ store, clock, openEcs: async () => ecs }, CONFIG, null).run(emptyAuditMemory, signal);
    const ended = running.then(({ report }) => report.clusters).catch(({ message }: Error) => message);
    for (let turn = 0; turn < 40; turn += 1) await clock.advance(1_000);
    return ended;
  };
  const elsewhere = [node(1, { cluster: 'deleted' }, null), node(2, { cluster: 'other-region' })];
  const left = node(3, { cluster: 'demo', departure }, null);
  assert.deepEqual(await auditOf(node(0, { cluster: 'demo' }), ...elsewhere), ['demo']);
  assert.deepEqual(await auditOf(node(0, { cluster: 'demo' }, null), node(4, { cluster: null })), ['demo']);
  assert.equal(
    await auditOf(...elsewhere, left),
    'audit: fake has none of the clusters of the roll: deleted, other-region',
  );
  assert.match(String(await auditOf(left)), /no node on the roll is in an ECS cluster; see --audit-clusters/);
});

const clusterArn = (name: string) => `arn:aws:ecs:us-east-1:123456789012:cluster/${name}`;

/** An ECS whose clusters come and go, with no instances; `asked`: the clusters that were polled since it was emptied. */
function changingEcs(monotonicMs: () => number, there: string[]) {
  const asked: string[] = [];
  const ecs: EcsApi = {
    ...fakeEcs(0, monotonicMs),
    listClusters: async () => ({ arns: there.map(clusterArn), next: null }),
    listContainerInstances: async (cluster) => {
      const name = clusterName(cluster) ?? '';
      asked.push(name);
      if (there.includes(name)) return { arns: [], next: null };
      throw new EcsError('Cluster not found.', { code: 'ClusterNotFoundException', retryable: false });
    },
  };
  return { ecs, asked };
}

test('the polls pass over a cluster that was deleted, and take in a new one within five minutes', async () => {
  const clock = simulatedClock();
  const store = fakeStore();
  const there = ['blue', 'green'];
  const { ecs, asked } = changingEcs(clock.monotonicMs, there);
  store.commit([node(0, { cluster: 'blue' }), node(1, { cluster: 'green' })]);
  const audit = fleetAudit({ store, clock, openEcs: async () => ecs }, CONFIG, null);
  const poll = async () => {
    asked.length = 0;
    await audit.disconnected([], signal);
    return [...asked];
  };
  assert.deepEqual(await poll(), ['blue', 'green']);
  const { read } = store.calls;
  there.splice(0, 2, 'green', 'red');
  store.commit([node(0, { cluster: 'red' })]);
  await clock.advance(240_000);
  assert.deepEqual(await poll(), ['blue', 'green'], 'blue is gone, and green was read');
  assert.equal(store.calls.read, read, 'the roll was not read again');
  store.mode = 'down';
  await clock.advance(60_000);
  assert.deepEqual(await poll(), ['blue', 'green'], 'beside a store that is away the polls go on');
  store.mode = 'up';
  assert.deepEqual(await poll(), ['green', 'red']);
  there.splice(0, 2);
  await assert.rejects(poll(), { code: 'ClusterNotFoundException' });
  there.push('green');
  assert.deepEqual(await poll(), ['green'], 'where ECS had none of them they are listed anew at once');
});

test('the polls tell of clusters that are given by name under their ARNs, as far as ECS lists them', async () => {
  const clock = simulatedClock();
  const { ecs } = changingEcs(clock.monotonicMs, ['blue', 'green']);
  let refusal: Error | null = null;
  const listClusters: EcsApi['listClusters'] = (...args) =>
    refusal ? Promise.reject(refusal) : ecs.listClusters(...args);
  const config = { ...CONFIG, clusters: ['blue', clusterArn('green'), 'green', 'gone'] };
  const start = () =>
    fleetAudit({ store: fakeStore(), clock, openEcs: async () => ({ ...ecs, listClusters }) }, config, null);
  const audit = start();
  const arns = [clusterArn('blue'), clusterArn('green')];
  assert.deepEqual((await audit.disconnected([], signal)).clusters, arns);
  refusal = new EcsError('denied', { code: 'AccessDeniedException', retryable: false });
  await clock.advance(300_000);
  assert.deepEqual((await audit.disconnected([], signal)).clusters, arns, 'what it knew stays');
  const { clusters } = await start().disconnected([], signal);
  assert.deepEqual(clusters, ['blue', clusterArn('green'), 'green'], 'a permission to list is not needed');
});

test('the polls say which disconnected instances are those of present nodes', async () => {
  const clock = simulatedClock();
  const store = fakeStore();
  const base = fakeEcs(3, clock.monotonicMs);
  const ecs: EcsApi = {
    ...base,
    async describeContainerInstances(...args) {
      const { instances, failures } = await base.describeContainerInstances(...args);
      return { instances: instances.map((each) => ({ ...each, agentConnected: false })), failures };
    },
  };
  store.commit([node(0, { cluster: 'demo' }), node(1, { cluster: 'demo' }, null)]);
  for (const clusters of ['roll', 'all', ['demo']] as const) {
    const audit = fleetAudit({ store, clock, openEcs: async () => ecs }, { ...CONFIG, clusters }, null);
    const { disconnected } = await audit.disconnected([], signal);
    assert.deepEqual(
      disconnected.map(({ instanceId, present }) => [instanceId, present]),
      [
        [sampleInstanceId(0), true],
        [sampleInstanceId(1), false],
        [sampleInstanceId(2), false],
      ],
    );
  }
});

test('an instance that ECS does not describe for an unknown reason is named by each reading of the audit, and by the polls', async () => {
  const clock = simulatedClock();
  const store = fakeStore();
  const arn = 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/00000000000000000000000000000000';
  const ecs: EcsApi = {
    ...fakeEcs(1, clock.monotonicMs),
    listContainerInstances: async () => ({ arns: [arn], next: null }),
    describeContainerInstances: async () => ({ instances: [], failures: [{ arn, reason: 'SHARD_AWAY' }] }),
  };
  store.commit([node(0, { cluster: 'demo', containerInstanceArn: arn })]);
  const named: string[] = [];
  const onUnexpected = ({ reason }: Failure) => named.push(reason);
  const audit = fleetAudit({ store, clock, openEcs: async () => ecs, onUnexpected }, CONFIG, null);
  const running = audit.run(emptyAuditMemory, signal);
  for (let turn = 0; turn < 40; turn += 1) await clock.advance(1_000);
  const { report } = await running;
  assert.deepEqual([report.differences[0]?.kind, named.length], ['stray', 2]);
  await audit.disconnected([], signal);
  assert.equal(named.length, 3);
});

test('a container instance that was deregistered is gone while its node is on the roll under it; that of a former registration is not', async () => {
  const clock = simulatedClock();
  const store = fakeStore();
  const arn = (n: number) =>
    `arn:aws:ecs:us-east-1:123456789012:container-instance/demo/${String(n).padStart(32, '0')}`;
  const ecs: EcsApi = {
    ...fakeEcs(0, clock.monotonicMs),
    describeContainerInstances: async (_, arns) => ({
      instances: [],
      failures: arns.map((each) => ({ arn: each, reason: 'MISSING' })),
    }),
  };
  const at = (n: number, of: number) => node(n, { cluster: 'demo', containerInstanceArn: arn(of) });
  store.commit([at(0, 0), at(1, 9), { ...at(2, 2), presence: null }]);
  const known = [0, 1, 2].map((n) => {
    return { instanceId: sampleInstanceId(n), containerInstanceArn: arn(n), present: true };
  });
  const audit = fleetAudit({ store, clock, openEcs: async () => ecs }, CONFIG, null);
  const { clusters, gone } = await audit.disconnected(known, signal);
  assert.deepEqual([clusters, gone], [[clusterArn('demo')], [arn(0)]]);
});

test('10,000 nodes are audited in under three minutes, at two requests a second, with one API', async () => {
  const clock = simulatedClock();
  const store = fakeStore();
  let turn = async (_: AbortSignal): Promise<void> => assert.fail('no rate was asked for');
  const ecs = fakeEcs(10_000, clock.monotonicMs, (by) => turn(by));
  const arn = (n: number) => `arn:aws:ecs:us-east-1:123456789012:container-instance/demo/${n}`;
  store.commit(Array.from({ length: 10_000 }, (_, n) => node(n, { containerInstanceArn: arn(n), cluster: 'demo' })));
  let opened = 0;
  const openEcs = async (perSecond: number) => {
    opened += 1;
    turn = createPacer(clock, perSecond);
    return ecs;
  };
  const audit = fleetAudit({ store, clock, openEcs }, CONFIG, null);
  const run = async () => {
    const startMs = clock.monotonicMs();
    let endMs: number | null = null;
    const running = audit.run(emptyAuditMemory, signal).finally(() => {
      endMs = clock.monotonicMs();
    });
    while (endMs === null && clock.monotonicMs() - startMs < 600_000) await clock.advance(5_000);
    return { ...(await running), durationMs: (endMs ?? Number.NaN) - startMs };
  };
  const { report, durationMs } = await run();
  assert.deepEqual([report.agreeing, report.differences], [10_000, []]);
  assert.ok(durationMs < 180_000, `${durationMs} ms`);
  assert.equal(ecs.requests.length, 201);
  await run();
  assert.deepEqual([opened, ecs.closed], [1, 0]);
  for (const [index, { atMs }] of ecs.requests.entries()) {
    const third = ecs.requests[index + 2];
    assert.ok(!third || third.atMs - atMs >= 1_000, 'a third request within a second');
  }
  audit.release();
  await clock.advance(0);
  assert.equal(ecs.closed, 1);
});

test('an API that cannot be opened is tried again by the next run', async () => {
  const clock = simulatedClock();
  const store = fakeStore();
  store.commit([node(0)]);
  let opened = 0;
  const openEcs = async () => {
    opened += 1;
    throw new Error('no such file');
  };
  const audit = fleetAudit({ store, clock, openEcs }, { ...CONFIG, clusters: ['demo'] }, null);
  for (let run = 0; run < 2; run += 1) await assert.rejects(audit.run(emptyAuditMemory, signal), /no such file/);
  audit.release();
  assert.equal(opened, 2);
});
