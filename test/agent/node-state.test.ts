import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  desiredRecord,
  initialNodeState,
  type NodeEvent,
  type NodeState,
  reduceNode,
} from '../../src/agent/node-state.ts';
import { encodeRecord } from '../../src/record/codec.ts';
import type { MetadataFacts } from '../../src/record/facts.ts';

const identity = { machineId: null, labels: {}, version: '1', session: 's', startedAt: '2026-01-01T00:00:00.000Z' };
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
const metadata: NodeEvent = { kind: 'metadata', facts, error: null };
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
  assert.equal(desiredRecord(after({ kind: 'metadata', facts: null, error: 'hang' }), identity), null);
});

test('a node registers without an ARN while ecs-agent is not up, and says why it is not well', () => {
  const record = desiredRecord(after(refused, metadata), identity);
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

test('an ecs-agent that is not registered is a warning', () => {
  const unregistered: NodeEvent = { ...ecsAgent, facts: { ...ecsAgent.facts, containerInstanceArn: null } };
  assert.equal(desiredRecord(after(metadata, unregistered), identity)?.health.status, 'warning');
});

test('failing metadata is never worse than a warning once the identity is known', () => {
  const stale: NodeEvent = { kind: 'metadata', facts, error: 'no answer within 1000 ms' };
  const record = desiredRecord(after(metadata, ecsAgent, stale, stale, stale, stale), identity);
  assert.equal(record?.health.status, 'warning');
});

test('reading the same again and again gives the same record, to the letter', () => {
  const one = desiredRecord(after(metadata, ecsAgent), identity);
  const many = desiredRecord(after(metadata, ecsAgent, metadata, ecsAgent, ecsAgent, metadata), identity);
  assert.ok(one && many);
  assert.equal(encodeRecord(many), encodeRecord(one));
});
