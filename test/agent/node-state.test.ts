import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  desiredRecord,
  initialNodeState,
  type NodeEvent,
  type NodeState,
  reduceNode,
} from '../../src/agent/node-state.ts';
import { encodeRecord } from '../../src/record/codec.ts';
import type { HealthStatus, MetadataFacts } from '../../src/record/record.ts';
import { sampleRecord } from '../support/sample-record.ts';

describe('node state', () => {
  const identity = {
    ...{ machineId: null, cluster: null, labels: {}, version: '1', session: 's' },
    startedAt: '2026-01-01T00:00:00.000Z',
  };
  const facts: MetadataFacts = {
    ec2InstanceId: 'i-12345678',
    privateIpAddress: '10.113.0.23',
    publicIpAddress: null,
    privateDnsName: null,
    availabilityZone: 'us-east-1a',
    region: 'us-east-1',
    instanceType: 'm5.large',
    imageId: null,
    accountId: null,
    instanceLifecycle: null,
  };
  const metadata: NodeEvent = { kind: 'metadata', facts, error: null, clockSkewMs: null };
  const arn = 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/6b107562-f96a-4528-94dd-81f93d812a63';
  const ecsAgent: NodeEvent = {
    kind: 'ecs-agent',
    facts: { containerInstanceArn: arn, cluster: 'demo', agentVersion: '1.70.0', agentHash: '0e7482df' },
  };
  const refused: NodeEvent = { kind: 'ecs-agent-failed', error: 'connection refused' };

  function after(...events: NodeEvent[]): NodeState {
    return events.reduce(
      (state, event, second) => reduceNode(state, event, { rise: 2, fall: 3 }, second * 1_000),
      initialNodeState,
    );
  }

  test('there is no record before the instance id is known', () => {
    assert.equal(desiredRecord(after(ecsAgent), identity), null);
    assert.equal(
      desiredRecord(after({ kind: 'metadata', facts: null, error: 'hang', clockSkewMs: null }), identity),
      null,
    );
  });

  test('a node registers without an ARN while ecs-agent is not up, and says why it is not well', () => {
    const record = desiredRecord(after(refused, metadata, refused, refused), identity);
    assert.equal(record?.containerInstanceArn, null);
    assert.equal(record?.health.status, 'critical');
    assert.equal(record?.health.checks.find((check) => check.name === 'ecs-agent')?.reason, 'connection refused');
  });

  test('a dead ecs-agent does not take the ARN away, and is critical only when it lasts', () => {
    const once = desiredRecord(after(metadata, ecsAgent, refused), identity);
    assert.deepEqual([once?.containerInstanceArn, once?.health.status], [arn, 'passing']);
    const lasting = desiredRecord(after(metadata, ecsAgent, refused, refused, refused), identity);
    assert.deepEqual([lasting?.containerInstanceArn, lasting?.health.status], [arn, 'critical']);
  });

  test('a reason in the record is short, however much a source has to say', () => {
    const long = Array.from({ length: 10 }, (_, n) => `IMDS meta-data/leaf-${n}: no answer within 500 ms`).join('; ');
    const stale: NodeEvent = { kind: 'metadata', facts, error: long, clockSkewMs: null };
    const failed: NodeEvent = { kind: 'ecs-agent-failed', error: long };
    const record = desiredRecord(after(...[1, 2, 3].flatMap((): NodeEvent[] => [stale, failed])), identity);
    for (const { reason } of record?.health.checks ?? []) {
      assert.equal([...reason].length, 200);
      assert.match(reason, /^IMDS meta-data\/leaf-0: no answer within 500 ms; .*…$/);
    }
    assert.equal(record?.health.checks.length, 2);
  });

  test('an ecs-agent that is not registered is a warning', () => {
    const unregistered: NodeEvent = { ...ecsAgent, facts: { ...ecsAgent.facts, containerInstanceArn: null } };
    assert.equal(
      desiredRecord(after(metadata, unregistered, unregistered, unregistered), identity)?.health.status,
      'warning',
    );
  });

  test('failing metadata is never worse than a warning once the identity is known', () => {
    const stale: NodeEvent = { kind: 'metadata', facts, error: 'no answer within 1000 ms', clockSkewMs: null };
    const record = desiredRecord(after(metadata, ecsAgent, stale, stale, stale, stale), identity);
    assert.equal(record?.health.status, 'warning');
  });

  test('reading the same again and again gives the same record, to the letter', () => {
    const one = desiredRecord(after(metadata, ecsAgent), identity);
    const many = desiredRecord(after(metadata, ecsAgent, metadata, ecsAgent, ecsAgent, metadata), identity);
    assert.ok(one && many);
    assert.equal(encodeRecord(many), encodeRecord(one));
  });

  const passing = { status: 'passing', reason: '' } as const;
  const failing = { status: 'critical', reason: 'exit status 2' } as const;
  const check = (name: string, seen: typeof passing | typeof failing): NodeEvent => ({ kind: 'check', name, seen });

  test('checks keep one order, ours first and then by name, whichever was looked at first', () => {
    const reads = [
      check('web', passing),
      check('disk', passing),
      ecsAgent,
      check('app', passing),
      check('docker', passing),
    ];
    const expected = ['metadata', 'ecs-agent', 'docker', 'disk', 'app', 'web'];
    for (const events of [
      [metadata, ...reads],
      [...reads.reverse(), metadata],
    ]) {
      const record = desiredRecord(after(...events), identity);
      assert.deepEqual(
        record?.health.checks.map(({ name }) => name),
        expected,
      );
    }
  });

  test('an operator’s check is in the record after three bad results and out again after two good ones', () => {
    const verdictAfter = (...seen: (typeof passing | typeof failing)[]) =>
      desiredRecord(after(metadata, ecsAgent, ...seen.map((each) => check('app', each))), identity)?.health;
    assert.equal(verdictAfter(passing, failing, failing)?.status, 'passing');
    const bad = verdictAfter(passing, failing, failing, failing);
    assert.deepEqual([bad?.status, bad?.checks.at(-1)?.reason], ['critical', 'exit status 2']);
    assert.equal(verdictAfter(passing, failing, failing, failing, passing)?.status, 'critical');
    assert.equal(verdictAfter(passing, failing, failing, failing, passing, passing)?.status, 'passing');
  });

  test('one verdict, one change of the record, however often it is looked at', () => {
    const texts = new Set<string>();
    let state = after(metadata, ecsAgent, check('app', passing));
    for (let second = 0; second < 40; second += 1) {
      const seen = second >= 10 && second < 20 ? failing : passing;
      state = reduceNode(state, check('app', seen), { rise: 2, fall: 3 }, 10_000 + second * 1_000);
      const record = desiredRecord(state, identity);
      assert.ok(record);
      texts.add(encodeRecord(record));
    }
    assert.equal(texts.size, 3, 'well, ill, and well again since a later moment');
  });

  test('a check of the last record that is not passing stays until it was looked at, a source’s as well as a probe’s', () => {
    const since = '2025-12-31T00:00:00.000Z';
    const bad = (name: string, reason = 'connection refused') => ({ name, status: 'critical' as const, reason, since });
    const checks = ['metadata', 'ecs-agent', 'notices', 'app', 'old'].map((name) => bad(name));
    const last = sampleRecord({ ec2InstanceId: facts.ec2InstanceId, health: { status: 'critical', since, checks } });
    const configured = ['metadata', 'ecs-agent', 'notices', 'app'];
    const recall: NodeEvent = { kind: 'last-record', record: last, checks: configured };
    const health = desiredRecord(after(metadata, recall), identity)?.health;
    assert.deepEqual([health?.status, health?.checks.map(({ name }) => name)], ['critical', configured]);
    const looked = desiredRecord(after(metadata, recall, ecsAgent, check('app', passing)), identity)?.health;
    assert.deepEqual(
      looked?.checks.map(({ name, status }) => `${name} ${status}`),
      ['metadata passing', 'ecs-agent passing', 'notices critical', 'app passing'],
    );
    // What an agent adds to the reason is added once, however often it restarts.
    const note = 'cluster and ARN are from the last record, unconfirmed';
    const again = { ...last, health: { ...last.health, checks: [bad('ecs-agent', `connection refused; ${note}`)] } };
    const third = desiredRecord(after(metadata, { ...recall, record: again }), identity);
    assert.equal(third?.health.checks.find(({ name }) => name === 'ecs-agent')?.reason, `connection refused; ${note}`);
  });

  test('what is as the last record has it has been so since then, and what changed at the restart or later has not', () => {
    const since = '1969-12-31T00:00:00.000Z';
    const lastOf = (status: HealthStatus, ...names: string[]): NodeEvent => {
      const checks = names.map((name) => ({ name, status, reason: '', since }));
      const record = sampleRecord({ ec2InstanceId: facts.ec2InstanceId, health: { status, since, checks } });
      return { kind: 'last-record', record, checks: ['metadata', 'ecs-agent', 'app'] };
    };
    const healthOf = (...events: NodeEvent[]) => {
      const health = desiredRecord(after(metadata, ecsAgent, ...events), identity)?.health;
      return [health?.since, ...(health?.checks ?? []).map(({ name, since }) => `${name} ${since}`)];
    };
    const names = ['metadata', 'ecs-agent', 'app'];
    const kept = [since, `metadata ${since}`, `ecs-agent ${since}`, `app ${since}`];
    // Before the last record is known, and after; the same record may be read again.
    const app = check('app', passing);
    const last = lastOf('passing', ...names);
    for (const events of [
      [app, last],
      [last, app],
      [last, app, last],
    ]) {
      assert.deepEqual(healthOf(...events), kept);
    }
    const ill = Array<NodeEvent>(3).fill(check('app', failing));
    const late = '1970-01-01T00:00:0';
    // The instants are the seconds of the events: 3 for `app`, the first after two for the sources and the last record.
    assert.deepEqual(healthOf(lastOf('critical', ...names), app), [
      `${late}3.000Z`,
      `metadata ${late}0.000Z`,
      `ecs-agent ${late}1.000Z`,
      `app ${late}3.000Z`,
    ]);
    // Ill and well again within this process, although the last record, which is read late, has it as well.
    const again = healthOf(app, ...ill, app, app, last);
    assert.deepEqual([again[0], again[3]], [`${late}7.000Z`, `app ${late}7.000Z`]);
    assert.deepEqual(
      healthOf(...ill, lastOf('critical', 'app')).filter((_, at) => at % 3 === 0),
      [since, `app ${since}`],
    );
  });

  test('a check that ended is not in the record, and no longer counts for the health', () => {
    const ended: NodeEvent = { kind: 'check-ended', name: 'app' };
    const failing3 = Array<NodeEvent>(3).fill(check('app', failing));
    const health = (...events: NodeEvent[]) => desiredRecord(after(metadata, ...events), identity)?.health;
    assert.equal(health(...failing3)?.status, 'critical');
    const left = health(...failing3, ended, ended);
    assert.deepEqual([left?.status, left?.checks.map(({ name }) => name)], ['passing', ['metadata']]);
  });

  const spot = { kind: 'spot-interruption', action: 'terminate', time: null };
  const rebalance = { kind: 'rebalance-recommendation', action: null, time: null };
  const noticesOf = (...events: NodeEvent[]) => desiredRecord(after(metadata, ...events), identity)?.interruption;
  const notices = (read: Extract<NodeEvent, { kind: 'notices' }>['notices']): NodeEvent => ({
    kind: 'notices',
    notices: read,
    error: null,
  });

  test('the most urgent notice is in the record; one that could not be read again stays, one that is read as none goes', () => {
    const both = notices({ 'spot-interruption': spot, 'rebalance-recommendation': rebalance });
    assert.deepEqual(noticesOf(both), spot);
    assert.deepEqual(noticesOf(both, notices({ maintenance: null })), spot);
    assert.deepEqual(noticesOf(both, notices({})), spot);
    assert.deepEqual(noticesOf(both, notices({ 'spot-interruption': null })), rebalance);
    assert.equal(noticesOf(both, notices({ 'spot-interruption': null, 'rebalance-recommendation': null })), null);
  });

  test('whether the notice of the last record is over goes by EC2’s clock, an hour off the node’s', () => {
    const kept = (clockSkewMs: number, time: string) => {
      const interruption = { kind: 'spot-interruption', action: 'terminate', time };
      const record = sampleRecord({ ec2InstanceId: facts.ec2InstanceId, interruption });
      return noticesOf({ ...metadata, clockSkewMs }, { kind: 'last-record', record, checks: [] }) !== null;
    };
    // By the node's clock it is the first second of 1970.
    assert.equal(kept(3_600_000, '1969-12-31T23:30:00Z'), true);
    assert.equal(kept(-3_600_000, '1970-01-01T00:30:00Z'), false);
  });
});
