import assert from 'node:assert/strict';
import { test } from 'node:test';
import { targetGroup } from '../../../src/http/routes/roll-routes.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';

test('a node is a target at its private address with all its known values', () => {
  const record = sampleRecord({ labels: { role: 'node' } });
  assert.deepEqual(targetGroup(record, 'present', 51_690), {
    targets: ['10.113.0.23:51690'],
    labels: {
      __meta_rollcall_instance_id: sampleInstanceId(),
      __meta_rollcall_container_instance_arn: record.containerInstanceArn,
      __meta_rollcall_cluster: 'demo',
      __meta_rollcall_availability_zone: 'us-east-1a',
      __meta_rollcall_region: 'us-east-1',
      __meta_rollcall_instance_type: 'm5.large',
      __meta_rollcall_instance_lifecycle: 'on-demand',
      __meta_rollcall_machine_id: record.machineId,
      __meta_rollcall_health: 'passing',
      __meta_rollcall_presence: 'present',
      __meta_rollcall_private_ip: '10.113.0.23',
      __meta_rollcall_label_role: 'node',
    },
  });
});

test('an IPv6 address is in brackets, and a node without an address is not a target', () => {
  const target = (privateIpAddress: string | null) =>
    targetGroup(sampleRecord({ privateIpAddress }), 'present', 9_100)?.targets;
  assert.deepEqual(target('2001:db8::7'), ['[2001:db8::7]:9100']);
  assert.equal(target(null), undefined);
});

test('an unknown value has no label', () => {
  const record = sampleRecord({ containerInstanceArn: null, cluster: null, machineId: null, labels: {} });
  const labels = targetGroup(record, 'uncertain', 1)?.labels ?? {};
  assert.equal(labels['__meta_rollcall_presence'], 'uncertain');
  assert.deepEqual(
    ['container_instance_arn', 'cluster', 'machine_id'].filter((name) => `__meta_rollcall_${name}` in labels),
    [],
  );
});

test('label names are made valid for Prometheus; if two become equal, the last by name wins', () => {
  const labels = (of: Record<string, string>) =>
    Object.entries(targetGroup(sampleRecord({ labels: of }), 'present', 1)?.labels ?? {}).filter(([name]) =>
      name.includes('_label_'),
    );
  const expected = [['__meta_rollcall_label_a_b', 'underscore']];
  assert.deepEqual(labels({ 'a.b': 'dot', 'a-b': 'dash', a_b: 'underscore' }), expected);
  assert.deepEqual(labels({ a_b: 'underscore', 'a-b': 'dash', 'a.b': 'dot' }), expected);
  assert.deepEqual(labels({ 'größe/1': 'x' }), [['__meta_rollcall_label_gr__e_1', 'x']]);
});
