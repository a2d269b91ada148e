import assert from 'node:assert/strict';
import { test } from 'node:test';
import { instanceJson } from '../../../src/record/roll.ts';
import { until } from '../../support/machine-time.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';
import { sampleLease, sampleReport } from '../../support/sample-report.ts';
import { openSse } from '../sse-reader.ts';
import { node, startAgentRoutes, UNCERTAINTY } from './start-agent-routes.ts';

test('/healthz is ok while all loops keep their limits, also in a store outage', async (t) => {
  const { agent, json } = await startAgentRoutes(t);
  agent.report = sampleReport({
    lease: sampleLease({ state: 'unregistered', believedGood: false, lastError: 'connection refused' }),
    loops: [{ name: 'publisher', ageMs: 60_000, limitMs: 60_000 }],
  });
  const { status, body } = await json('/healthz');
  assert.deepEqual([status, body], [200, { status: 'ok' }]);
});

test('/healthz names the stuck loops and no others', async (t) => {
  const { agent, json } = await startAgentRoutes(t);
  agent.report = sampleReport({
    loops: [
      { name: 'publisher', ageMs: 60_000.7, limitMs: 60_000 },
      { name: 'checks', ageMs: 1, limitMs: 60_000 },
    ],
  });
  const { status, headers, body } = await json('/healthz');
  assert.equal(status, 503);
  assert.equal(headers['content-type'], 'application/problem+json');
  assert.deepEqual(body.loops, [{ name: 'publisher', ageMs: 60_001, limitMs: 60_000 }]);
  assert.equal(body.detail, 'loop publisher made no step for 60001 ms, its limit is 60000 ms');
});

test('/readyz is ok only while the lease is held and believed good, else it has the reason', async (t) => {
  const { agent, json } = await startAgentRoutes(t);
  assert.deepEqual((await json('/readyz')).body, { status: 'ready' });
  const bad = [
    { state: 'held', believedGood: false },
    { state: 'unregistered', believedGood: false },
    { state: 'superseded', believedGood: true },
  ] as const;
  for (const lease of bad) {
    agent.report = sampleReport({
      lease: sampleLease({ ...lease, reason: 'trying again in 2 s', lastError: 'refused' }),
    });
    const { status, body } = await json('/readyz');
    assert.deepEqual([status, body.detail, body.leaseState], [503, 'trying again in 2 s: refused', lease.state]);
  }
});

test('/v1/self has the whole state of the agent, in whole milliseconds', async (t) => {
  const { agent, json } = await startAgentRoutes(t);
  const interruption = { kind: 'spot-interruption', action: 'terminate', time: '2026-01-01T00:02:00.000Z' };
  const report = sampleReport({ interruption });
  agent.report = report;
  assert.deepEqual((await json('/v1/self')).body, {
    ...report,
    checks: [{ ...report.checks[0], ageMs: 2_001, lastDurationMs: 3 }],
    lease: { ...report.lease, lastBeatAgeMs: 2_000 },
    sources: [
      { ...report.sources[0], ageMs: 1_500, lastDurationMs: 13 },
      { ...report.sources[1], ageMs: null, lastDurationMs: null },
    ],
    loops: [{ name: 'publisher', ageMs: 400, limitMs: 60_000 }],
    roll: {
      watching: false,
      ageMs: null,
      stale: true,
      nodes: null,
      uncertainty: null,
      heldLosses: 0,
      eventReaders: 0,
      lastError: null,
    },
  });
});

test('/v1/self has the state of the registry and does not read the store', async (t) => {
  const { store, clock, trouble, json } = await startAgentRoutes(t);
  store.commit([node(1), node(2, {}, null)]);
  await json('/v1/containerInstances');
  await clock.advance(1_500);
  trouble.status = { uncertainty: UNCERTAINTY, uncertainLosses: 40, eventReaders: 3, lastError: 'refused' };
  assert.deepEqual((await json('/v1/self')).body.roll, {
    watching: true,
    ageMs: 1_500,
    stale: false,
    nodes: { present: 1, departed: 0, lost: 1 },
    uncertainty: UNCERTAINTY,
    heldLosses: 40,
    eventReaders: 3,
    lastError: 'refused',
  });
  assert.deepEqual(store.calls, { read: 1, watch: 1 });
});

test('/v1/containerInstances has the present nodes with revision and age', async (t) => {
  const { store, json } = await startAgentRoutes(t);
  const key = { key: 'v1/records/junk', reason: 'foreign' };
  store.skipped = [key];
  store.commit([node(1), node(2, {}, null), node(3)]);
  const { status, headers, body } = await json('/v1/containerInstances');
  assert.deepEqual([status, headers['content-type']], [200, 'application/json']);
  const containerInstances = [instanceJson(node(1)), instanceJson(node(3))];
  const rest = { revision: '2', ageMs: 0, stale: false, uncertainty: null, skipped: [key], notes: [], next: null };
  assert.deepEqual(body, { containerInstances, ...rest });
});

test('/v1/containerInstances has the uncertainty of a mass loss', async (t) => {
  const { trouble, json } = await startAgentRoutes(t);
  trouble.read = { uncertainty: UNCERTAINTY };
  assert.deepEqual((await json('/v1/containerInstances')).body.uncertainty, UNCERTAINTY);
});

test('/v1/containerInstances filters, and an empty list is valid JSON', async (t) => {
  const { store, json } = await startAgentRoutes(t);
  store.commit([node(1), node(2, { cluster: 'other' }), node(3, {}, null)]);
  const ids = async (query: string) =>
    (await json(`/v1/containerInstances?${query}`)).body.containerInstances.map(
      (instance: { ec2InstanceId: string }) => instance.ec2InstanceId,
    );
  assert.deepEqual(await ids('cluster=other'), [sampleInstanceId(2)]);
  assert.deepEqual(await ids('presence=all&az=us-east-1a&health=passing&cluster=demo'), [1, 3].map(sampleInstanceId));
  assert.deepEqual(await ids('presence=lost'), [sampleInstanceId(3)]);
  assert.deepEqual(await ids('health=critical'), []);
  const bad = await json('/v1/containerInstances?presence=here');
  assert.deepEqual([bad.status, bad.headers['content-type']], [400, 'application/problem+json']);
  assert.match(bad.body.detail, /presence "here" is not known; allowed: present, departed, lost, all/);
});

test('ten thousand nodes are one complete answer', async (t) => {
  const { store, json } = await startAgentRoutes(t);
  store.commit(Array.from({ length: 10_000 }, (_, n) => node(n)));
  const { body } = await json('/v1/containerInstances');
  assert.equal(body.containerInstances.length, 10_000);
  assert.deepEqual(body.containerInstances[9_999], instanceJson(node(9_999)));
});

test('/v1/containerInstances/{id} is one node with any presence, 404 or 400', async (t) => {
  const { store, json } = await startAgentRoutes(t);
  store.commit([node(1), node(2, {}, null)]);
  const path = '/v1/containerInstances';
  const lost = await json(`${path}/${sampleInstanceId(2)}`);
  const containerInstance = instanceJson(node(2, {}, null));
  assert.deepEqual([lost.status, lost.body], [200, { containerInstance, revision: '2', ageMs: 0, stale: false }]);
  const unknown = await json(`${path}/${sampleInstanceId(9)}`);
  assert.equal(unknown.status, 404);
  assert.equal(unknown.body.detail, `${sampleInstanceId(9)} is not on the roll at revision 2`);
  assert.equal(unknown.body.instance, `${path}/${sampleInstanceId(9)}`);
  for (const id of ['10.0.0.1', 'i-xyz', '%22', `i-${'0'.repeat(500)}`]) {
    const bad = await json(`${path}/${id}`);
    assert.equal(bad.status, 400, id);
    assert.match(bad.body.detail, /is not an instance id/);
  }
});

test('a node whose record cannot be read is not one that is gone', async (t) => {
  const { store, trouble, json } = await startAgentRoutes(t);
  store.commit([node(1)]);
  const newer = sampleInstanceId(8);
  const skipped = [{ key: `v1/records/${newer}`, reason: 'schemaVersion 99 is newer than 1' }];
  trouble.read = { roll: { revision: '2', entries: [node(1)], skipped } };
  const { status, body } = await json(`/v1/containerInstances/${newer}`);
  assert.equal(status, 503);
  assert.equal(body.detail, `the record of ${newer} cannot be read: schemaVersion 99 is newer than 1`);
  const other = `/v1/containerInstances/${sampleInstanceId(9)}`;
  assert.equal((await json(other)).status, 404);
  const rest = { key: 'v1/', reason: '7 more keys that cannot be read' };
  trouble.read = { roll: { revision: '2', entries: [node(1)], skipped: [...skipped, rest] } };
  const { status: doubtful, body: told } = await json(other);
  assert.equal(doubtful, 503);
  assert.match(told.detail, /^the record of \S+9 may be among those that cannot be read: 7 more keys/);
});

test('in an outage the last known roll is stale with its age, and an unknown node is not a 404', async (t) => {
  const { store, clock, json } = await startAgentRoutes(t);
  store.commit([node(1)]);
  await json('/v1/containerInstances');
  await clock.advance(0);
  store.mode = 'down';
  await clock.advance(20_000);
  const { status, body } = await json('/v1/containerInstances');
  assert.deepEqual([status, body.stale, body.ageMs, body.containerInstances.length], [200, true, 20_000, 1]);
  const unknown = await json(`/v1/containerInstances/${sampleInstanceId(9)}`);
  assert.deepEqual([unknown.status, unknown.headers['retry-after']], [503, '5']);
  assert.match(unknown.body.detail, /is not on the roll at revision 2, which is 20000 ms old/);
});

test('if no roll is known the answer is a 503 with the cause, never an empty list', async (t) => {
  const { store, clock, json } = await startAgentRoutes(t);
  store.mode = 'down';
  const first = json('/v1/targets');
  await until('the store was asked', 5_000, () => store.calls.read === 1);
  await clock.advance(200); // and is asked once more
  assert.equal((await first).status, 503);
  for (const path of [
    '/v1/containerInstances',
    `/v1/containerInstances/${sampleInstanceId(1)}`,
    '/v1/targets',
    '/v1/events',
  ]) {
    const { status, headers, body } = await json(path);
    assert.deepEqual([status, headers['retry-after'], body.instance], [503, '5', path]);
    assert.equal(body.detail, 'the roll is not known: fake:: connection refused');
  }
});

test('/v1/targets has the present nodes at the port of the request, or at another', async (t) => {
  const { store, json, url } = await startAgentRoutes(t);
  assert.deepEqual((await json('/v1/targets')).body, []);
  store.commit([node(1, { privateIpAddress: '10.0.0.1' }), node(2, { privateIpAddress: null }), node(3, {}, null)]);
  const { status, headers, body } = await json('/v1/targets');
  assert.deepEqual([status, headers['content-type']], [200, 'application/json']);
  assert.deepEqual(
    body.map((group: { targets: string[] }) => group.targets),
    [[`10.0.0.1:${new URL(url).port}`]],
  );
  assert.equal(body[0].labels.__meta_rollcall_instance_id, sampleInstanceId(1));
  assert.deepEqual((await json('/v1/targets?port=9100&az=us-east-1a')).body[0].targets, ['10.0.0.1:9100']);
  assert.deepEqual((await json('/v1/targets?cluster=other')).body, []);
  assert.deepEqual((await json('/v1/targets?presence=lost')).body[0].labels.__meta_rollcall_presence, 'lost');
  assert.match((await json('/v1/targets?port=0')).body.detail, /port "0" is not a port; allowed: 1 to 65535/);
});

test('/v1/targets keeps lost nodes that may return', async (t) => {
  const { store, trouble, json } = await startAgentRoutes(t);
  store.commit([node(1), node(2, {}, null), node(3, {}, null)]);
  trouble.read = { uncertainLosses: new Set([sampleInstanceId(2)]) };
  const told = async (query: string) =>
    (await json(`/v1/targets${query}`)).body.map(({ labels }: { labels: Record<string, string> }) => [
      labels['__meta_rollcall_instance_id'],
      labels['__meta_rollcall_presence'],
    ]);
  const kept = [
    [sampleInstanceId(1), 'present'],
    [sampleInstanceId(2), 'uncertain'],
  ];
  assert.deepEqual(await told(''), kept);
  assert.deepEqual(await told('?presence=lost'), [[sampleInstanceId(3), 'lost']]);
  assert.deepEqual(await told('?presence=all'), [...kept, [sampleInstanceId(3), 'lost']]);
  assert.deepEqual(await told('?cluster=other'), []);
});

test('/v1/targets uses the last known roll in an outage', async (t) => {
  const { store, clock, json } = await startAgentRoutes(t);
  store.commit([node(1)]);
  await json('/v1/targets');
  store.mode = 'down';
  await clock.advance(20_000);
  assert.equal((await json('/v1/targets')).body.length, 1);
});

test('/metrics has every sample in base units and does not read the store', async (t) => {
  const { agent, store, text } = await startAgentRoutes(t);
  agent.report = sampleReport({ record: sampleRecord({ clockSkewSeconds: -3_600 }) });
  const { status, headers, text: page } = await text('/metrics');
  assert.deepEqual([status, headers['content-type']], [200, 'text/plain; version=0.0.4; charset=utf-8']);
  assert.deepEqual(store.calls, { read: 0, watch: 0 });
  const samples = page.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  assert.deepEqual(samples, [
    'rollcall_build_info{version="0.1.0"} 1',
    'rollcall_lease_state{state="unregistered"} 0',
    'rollcall_lease_state{state="held"} 1',
    'rollcall_lease_state{state="lost"} 0',
    'rollcall_lease_state{state="superseded"} 0',
    'rollcall_lease_state{state="departed"} 0',
    'rollcall_registered 1',
    'rollcall_lease_believed_good 1',
    'rollcall_lease_last_beat_age_seconds 1.9996',
    'rollcall_lease_ttl_seconds 30',
    'rollcall_registrations_total 1',
    'rollcall_lease_losses_total 0',
    'rollcall_beats_total{outcome="ok"} 12',
    'rollcall_beats_total{outcome="failed"} 3',
    'rollcall_record_writes_total 2',
    'rollcall_store_errors_total 4',
    'rollcall_source_up{source="imds"} 1',
    'rollcall_source_up{source="introspection"} 0',
    'rollcall_source_age_seconds{source="imds"} 1.5004',
    'rollcall_source_reads_total{source="imds",outcome="ok"} 9',
    'rollcall_source_reads_total{source="imds",outcome="failed"} 1',
    'rollcall_source_reads_total{source="introspection",outcome="ok"} 0',
    'rollcall_source_reads_total{source="introspection",outcome="failed"} 7',
    'rollcall_source_duration_seconds{source="imds"} 0.0125',
    'rollcall_check_status{check="ecs-agent",status="passing"} 0',
    'rollcall_check_status{check="ecs-agent",status="warning"} 1',
    'rollcall_check_status{check="ecs-agent",status="critical"} 0',
    'rollcall_check_age_seconds{check="ecs-agent"} 2.0007',
    'rollcall_check_duration_seconds{check="ecs-agent"} 0.0034',
    'rollcall_check_looks_total{check="ecs-agent",outcome="ok"} 7',
    'rollcall_check_looks_total{check="ecs-agent",outcome="failed"} 5',
    'rollcall_health_status{status="passing"} 1',
    'rollcall_health_status{status="warning"} 0',
    'rollcall_health_status{status="critical"} 0',
    'rollcall_interruption{kind="spot-interruption"} 0',
    'rollcall_interruption{kind="asg-termination"} 0',
    'rollcall_interruption{kind="maintenance"} 0',
    'rollcall_interruption{kind="rebalance-recommendation"} 0',
    'rollcall_loop_age_seconds{loop="publisher"} 0.4002',
    'rollcall_clock_skew_seconds -3600',
    'rollcall_registry_watching 0',
    'rollcall_registry_watch_down_seconds 0',
    'rollcall_registry_snapshots_total 0',
    'rollcall_registry_watch_restarts_total 0',
    'rollcall_registry_uncertain 0',
    'rollcall_registry_mass_losses_total 0',
    'rollcall_registry_held_losses 0',
    'rollcall_event_readers 0',
    'rollcall_event_readers_cut_total 0',
    'rollcall_event_catch_ups_total 0',
    'process_resident_memory_bytes 12345678',
    'process_start_time_seconds 1767225600',
  ]);
});

test('/metrics has the interruption, the uncertainty and the readers', async (t) => {
  const { agent, trouble, text } = await startAgentRoutes(t);
  agent.report = sampleReport({ interruption: { kind: 'maintenance', action: null, time: null } });
  const losses = { uncertainty: UNCERTAINTY, massLosses: 4, uncertainLosses: 40 };
  trouble.status = { ...losses, eventReaders: 3, slowReaders: 2, catchUps: 5 };
  const { text: page } = await text('/metrics');
  for (const sample of [
    'rollcall_interruption{kind="maintenance"} 1',
    'rollcall_interruption{kind="spot-interruption"} 0',
    'rollcall_registry_uncertain 1',
    'rollcall_registry_mass_losses_total 4',
    'rollcall_registry_held_losses 40',
    'rollcall_event_readers 3',
    'rollcall_event_readers_cut_total 2',
    'rollcall_event_catch_ups_total 5',
  ]) {
    assert.ok(page.includes(`\n${sample}\n`), sample);
  }
});

test('/v1/events follows the roll: a snapshot, then each change', async (t) => {
  const { store, url, json } = await startAgentRoutes(t);
  store.commit([node(1)]);
  const reader = await openSse(t, `${url}/v1/events`);
  await reader.until(() => reader.told().length === 2);
  store.commit([node(1, {}, null)]);
  await reader.until(() => reader.told().length === 3);
  assert.deepEqual(
    reader.told().map(({ type, lastEventId }) => [type, lastEventId]),
    [
      ['rollcall.instance.registered', ''],
      ['rollcall.roll.synced', '2'],
      ['rollcall.instance.lost', '3'],
    ],
  );
  assert.equal((await json('/v1/self')).body.roll.eventReaders, 1);
  const future = await json('/v1/events?since=99');
  assert.equal(future.status, 400);
  assert.match(future.body.detail, /^resume after revision 99: the store is at 3/);
});

test('/metrics has the nodes of the roll only while it is watched', async (t) => {
  const { store, clock, text, json } = await startAgentRoutes(t);
  store.commit([node(1), node(2, {}, null)]);
  await json('/v1/containerInstances');
  const page = async () => (await text('/metrics')).text;
  assert.match(await page(), /^rollcall_registry_nodes\{presence="present"\} 1$/m);
  assert.match(await page(), /^rollcall_registry_nodes\{presence="lost"\} 1$/m);
  await clock.advance(180_000);
  assert.doesNotMatch(await page(), /rollcall_registry_nodes/);
  assert.match(await page(), /^rollcall_registry_age_seconds 180$/m);
});

test('/ lists the paths', async (t) => {
  const { text } = await startAgentRoutes(t);
  const { status, text: page } = await text('/');
  assert.equal(status, 200);
  assert.match(page, /^rollcall 0\.1\.0\n/);
  for (const path of [
    '/healthz',
    '/readyz',
    '/v1/self',
    '/v1/containerInstances/:id',
    '/v1/events',
    '/v1/targets',
    '/metrics',
  ]) {
    assert.ok(page.includes(`\n${path}\n`), path);
  }
});
