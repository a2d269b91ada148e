import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findNode } from '../../src/record/find-nodes.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { sampleRecord } from '../support/sample-record.ts';

const PRESENCE = { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
const ARN = 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/5e0cca9d8a8f4b0e8b6f1f2f3f4f5f6f';

function node(ec2InstanceId: string, privateIpAddress: string, isPresent = true, overrides = {}): RollEntry {
  const record = sampleRecord({ ec2InstanceId, privateIpAddress, machineId: null, ...overrides });
  return { record, presence: isPresent ? PRESENCE : null };
}

const ENTRIES = [
  node('i-0abc1234', '10.0.0.1', true, { machineId: 'fedc0123456789abcdef0123456789ab', containerInstanceArn: ARN }),
  node('i-0abc12345678', '10.0.0.2', true, { publicIpAddress: '203.0.113.7' }),
  node('i-0abd0000', '10.0.0.3', false),
  node('i-0abe0000', '10.0.0.3'),
  node('mi-0f000000', '2001:db8::1', false),
];

function found(text: string): string {
  const result = findNode(ENTRIES, text);
  if (result.kind === 'found') return result.entry.record.ec2InstanceId;
  return result.kind === 'absent' ? 'absent' : result.refusal;
}

test('a node is found by its id, a start of it, an address, an ARN and a machine id', () => {
  assert.equal(found('i-0abc12345678'), 'i-0abc12345678');
  assert.equal(found('i-0abd'), 'i-0abd0000');
  assert.equal(found('mi-0'), 'mi-0f000000');
  assert.equal(found('10.0.0.2'), 'i-0abc12345678');
  assert.equal(found('203.0.113.7'), 'i-0abc12345678');
  assert.equal(found('2001:db8::1'), 'mi-0f000000');
  assert.equal(found(ARN), 'i-0abc1234');
  assert.equal(found('fedc0123456789abcdef0123456789ab'), 'i-0abc1234');
  assert.equal(found('fedc0123'), 'i-0abc1234');
  assert.equal(found('5e0cca9d8a8f4b0e8b6f1f2f3f4f5f6f'), 'i-0abc1234');
});

test('a whole id that is also the start of another is that node; an address is the present node’s', () => {
  assert.equal(found('i-0abc1234'), 'i-0abc1234');
  assert.equal(found('10.0.0.3'), 'i-0abe0000');
});

test('a start of several ids names them, at most ten', () => {
  assert.equal(
    found('i-0abc'),
    '"i-0abc" names 2 nodes: i-0abc1234 (10.0.0.1), i-0abc12345678 (10.0.0.2); use a whole instance id',
  );
  const many = Array.from({ length: 12 }, (_, n) => node(`i-0000000${n.toString(16)}`, '10.9.9.9'));
  const result = findNode(many, 'i-0');
  assert.match(result.kind === 'refused' ? result.refusal : '', /i-00000009 \(10\.9\.9\.9\) and 2 more; use a whole/);
  assert.equal(findNode(many, '10.9.9.9').kind, 'refused');
});

test('a node that is not there is absent, a text that names none is refused', () => {
  for (const text of ['i-0abf', '10.0.0.9', 'fedc9999', ARN.replace('demo', 'prod')])
    assert.equal(found(text), 'absent');
  for (const text of [
    'web',
    'i-',
    'I-0abc',
    '10.0.0',
    '10.0.0.1:22',
    'fedc',
    'arn:aws:ecs:us-east-1:1:cluster/demo',
    '',
  ])
    assert.match(found(text), /is not an instance id or its start, an address, an ARN or a machine id/, text);
});
