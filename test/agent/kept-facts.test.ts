import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { completeFacts, type ReadFacts } from '../../src/agent/kept-facts.ts';
import { EVERY_NODE, filterRoll } from '../../src/record/filter.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import { METADATA_NAMES } from '../../src/sources/metadata.ts';
import { startRawServer } from '../sources/start-raw-server.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS } from '../support/rollcall-process.ts';
import { sampleRecord } from '../support/sample-record.ts';
import { startWorld } from './start-agent.ts';

const never = new AbortController().signal;
const reasonOf = (record: NodeRecord | null) =>
  record?.health.checks.find(({ name }) => name === 'ecs-agent')?.reason ?? '';

test('a node whose agent starts while ecs-agent is down stays in the view of its cluster, with its ARN', async (t) => {
  const world = await startWorld(t);
  const first = await world.startAgent();
  await until('it is known', PATIENCE_MS, async () => (await world.record())?.cluster === 'demo');
  const before = await world.record();
  await first.leave();
  await world.setFault({ introspection: 'refuse' });
  const records = world.records();
  await world.startAgent();
  await until('it is critical', PATIENCE_MS, async () => (await world.record())?.health.status === 'critical');
  const after = await world.record();
  assert.equal(after?.departure, null);
  for (const name of ['cluster', 'containerInstanceArn', 'versionInfo'] as const) {
    assert.deepEqual(after?.[name], before?.[name]);
  }
  assert.match(reasonOf(after), /^connection refused at .*; cluster and ARN are from the last record, unconfirmed$/);
  // In no write between, either: a watcher of the cluster would see the node leave it.
  assert.deepEqual([...new Set(records.map(({ cluster }) => cluster))], ['demo']);
  const { entries } = await world.store.read(never);
  const view = { ...EVERY_NODE, cluster: new Set(['demo']) };
  assert.equal(filterRoll(entries, view).length, 1);

  await world.setFault({ introspection: 'none' });
  await world.wipeEcsAgent();
  await until('it passes', PATIENCE_MS, async () => (await world.record())?.health.status === 'passing');
  assert.notEqual((await world.record())?.containerInstanceArn, before?.containerInstanceArn, 'ecs-agent’s word');
});

test('a host whose ecs-agent never came up is in the configured cluster, and ecs-agent’s word replaces it', async (t) => {
  const world = await startWorld(t);
  await world.setFault({ introspection: 'refuse' });
  const agent = await world.startAgent({ config: { cluster: 'staging' } });
  await until('it is critical', PATIENCE_MS, async () => (await world.record())?.health.status === 'critical');
  const record = await world.record();
  assert.deepEqual([record?.cluster, record?.containerInstanceArn], ['staging', null]);
  assert.match(reasonOf(record), /; the cluster is the configured one, unconfirmed$/);
  assert.match(
    (await agent.self()).checks.find((check: { name: string }) => check.name === 'ecs-agent').reason,
    /unconfirmed$/,
  );
  await world.setFault({ introspection: 'none' });
  await until('ecs-agent has the word', PATIENCE_MS, async () => (await world.record())?.cluster === 'demo');
});

test('what EC2 metadata does not tell an agent that starts stays as the last record has it', async (t) => {
  const world = await startWorld(t);
  const values: Record<string, string> = {
    'meta-data/instance-id': 'i-0123456789abcdef0',
    'meta-data/local-ipv4': '10.113.0.23',
    'meta-data/placement/availability-zone': 'us-east-1a',
    'meta-data/public-ipv4': '203.0.113.7',
    'meta-data/spot/instance-action': '{"action":"terminate","time":"2099-01-01T00:00:00Z"}',
  };
  const broken = new Set<string>();
  const imds = await startRawServer(t, (req, res) => {
    const path = req.url?.replace('/latest/', '') ?? '';
    if (path === 'api/token') res.end('TOKEN');
    else if (broken.has(path)) res.writeHead(500).end();
    else if (values[path] === undefined) res.writeHead(404).end();
    else res.end(values[path]);
  });
  const read = async () => (await world.store.readOne('i-0123456789abcdef0', never)).entry?.record ?? null;
  const config = { metadataEndpoint: imds.endpoint };
  const first = await world.startAgent({ config });
  await until('it is known', PATIENCE_MS, async () => (await read())?.interruption?.kind === 'spot-interruption');
  await first.leave();
  for (const path of Object.keys(values)) if (path !== 'meta-data/instance-id') broken.add(path);
  await world.startAgent({ config });
  const kept = await read();
  assert.equal(kept?.departure, null);
  assert.deepEqual(
    [kept?.privateIpAddress, kept?.availabilityZone, kept?.publicIpAddress, kept?.interruption?.kind],
    ['10.113.0.23', 'us-east-1a', '203.0.113.7', 'spot-interruption'],
  );
  // EC2's word, "there is none", replaces it.
  broken.clear();
  delete values['meta-data/public-ipv4'];
  delete values['meta-data/spot/instance-action'];
  await until('EC2 has the word', PATIENCE_MS, async () => {
    const record = await read();
    return record?.publicIpAddress === null && record.interruption === null;
  });
});

test('another instance keeps nothing of this one, although its disk and its store are the same', async (t) => {
  const world = await startWorld(t);
  const first = await world.startAgent();
  await until('it is known', PATIENCE_MS, async () => (await world.record())?.cluster === 'demo');
  await first.leave();
  await world.setFault({ introspection: 'refuse' });
  const imds = await startRawServer(t, (req, res) => {
    if (req.url === '/latest/api/token') res.end('TOKEN');
    else if (req.url === '/latest/meta-data/instance-id') res.end('i-00000000000000abc');
    else res.writeHead(404).end();
  });
  await world.startAgent({ config: { metadataEndpoint: imds.endpoint } });
  const clone = (await world.store.readOne('i-00000000000000abc', never)).entry?.record;
  assert.deepEqual([clone?.cluster, clone?.containerInstanceArn, clone?.availabilityZone], [null, null, null]);
});

describe('complete facts', () => {
  const last = sampleRecord({
    interruption: { kind: 'maintenance', action: 'instance-reboot', time: '2026-01-01T12:00:00.000Z' },
  });
  const { ec2InstanceId } = last;
  const metadata = { ec2InstanceId };
  const NOTHING: ReadFacts = {
    ...{ metadata, ecsAgent: null, notices: {}, machineId: undefined, configuredCluster: null },
  };
  const beforeMs = Date.parse('2026-01-01T11:59:59Z');
  const cluster = (read: Partial<ReadFacts>, record: NodeRecord | null) => {
    const { ecsAgent, unconfirmed } = completeFacts({ ...NOTHING, ...read }, record, beforeMs);
    return [ecsAgent.cluster, unconfirmed?.split(',')[0] ?? null];
  };

  test('what no source has said is as the last record has it', () => {
    const facts = completeFacts(NOTHING, last, beforeMs);
    for (const name of METADATA_NAMES) assert.equal(facts.metadata[name], last[name]);
    const { containerInstanceArn, cluster, versionInfo, machineId } = last;
    assert.deepEqual(facts.ecsAgent, { containerInstanceArn, cluster, ...versionInfo });
    assert.deepEqual([facts.machineId, facts.notices.maintenance], [machineId, last.interruption]);
  });

  test('what a source has said outranks it, also that there is none, but for the private address', () => {
    const metadata = { ec2InstanceId, privateIpAddress: null, privateDnsName: null, availabilityZone: 'us-east-1c' };
    const ecsAgent = { containerInstanceArn: null, cluster: 'new', agentVersion: null, agentHash: null };
    const facts = completeFacts(
      { ...NOTHING, metadata, ecsAgent, notices: { maintenance: null }, machineId: null },
      last,
      beforeMs,
    );
    assert.deepEqual(
      [facts.metadata.privateIpAddress, facts.metadata.privateDnsName, facts.metadata.availabilityZone],
      [last.privateIpAddress, null, 'us-east-1c'],
    );
    assert.deepEqual([facts.ecsAgent, facts.unconfirmed], [ecsAgent, null]);
    assert.deepEqual([facts.notices.maintenance, facts.machineId], [null, null]);
  });

  test('of the cluster ecs-agent’s word is worth most, then the last record’s, then the configuration’s', () => {
    const ecsAgent = { containerInstanceArn: null, cluster: 'said', agentVersion: '1', agentHash: null };
    const configuredCluster = 'configured';
    const assumed = { ...last, containerInstanceArn: null, versionInfo: { agentVersion: null, agentHash: null } };
    assert.deepEqual(cluster({ ecsAgent, configuredCluster }, last), ['said', null]);
    assert.deepEqual(cluster({ configuredCluster }, last), ['demo', 'cluster and ARN are from the last record']);
    assert.deepEqual(cluster({ configuredCluster }, null), ['configured', 'the cluster is the configured one']);
    // The record's cluster was configured, too: a configuration that was mended must not lose to the wrong one.
    assert.deepEqual(cluster({ configuredCluster }, assumed), ['configured', 'the cluster is the configured one']);
    assert.deepEqual(cluster({}, assumed), ['demo', 'the cluster is from the last record']);
    assert.deepEqual(cluster({}, null), [null, null]);
  });

  test('a notice whose time has passed is not kept, one without a readable time is', () => {
    const afterMs = Date.parse('2026-01-01T12:00:00Z');
    assert.equal(completeFacts(NOTHING, last, afterMs).notices.maintenance, null);
    for (const time of [null, 'soon']) {
      const interruption = { kind: 'spot-interruption', action: 'terminate', time };
      const facts = completeFacts(NOTHING, { ...last, interruption }, afterMs);
      assert.deepEqual(facts.notices['spot-interruption'], interruption);
    }
  });

  test('the record of another instance gives nothing', () => {
    const { metadata, ecsAgent, notices, machineId } = completeFacts(
      NOTHING,
      sampleRecord({ ...last, ec2InstanceId: 'i-0fedcba987654321' }),
      beforeMs,
    );
    const others = [...Object.values({ ...metadata, ec2InstanceId: null }), ...Object.values(ecsAgent), machineId];
    assert.deepEqual(new Set([...others, ...Object.values(notices)]), new Set([null]));
  });
});
