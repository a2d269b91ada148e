import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isContainerInstanceArn } from '../../src/ecs/arn.ts';
import { INSTANCE_ID } from '../../src/record/codec.ts';
import { MAX_NODES } from '../../src/simulator/http.ts';
import { containerInstanceArn, simulatedNode } from '../../src/simulator/node.ts';

const fleet = { seed: 'seed', cluster: 'demo' };
const all = Array.from({ length: MAX_NODES }, (_, index) => simulatedNode(index, fleet));

test('equal arguments make equal nodes, another seed other ids', () => {
  assert.deepEqual(simulatedNode(7, fleet), all[7]);
  assert.notEqual(simulatedNode(7, { ...fleet, seed: 'other' }).instanceId, all[7]?.instanceId);
});

test('no two nodes of a fleet share an id, a machine id or an address', () => {
  for (const key of ['instanceId', 'machineId', 'privateIpAddress'] as const) {
    assert.equal(new Set(all.map((node) => node[key])).size, MAX_NODES, key);
  }
});

test('addresses count from 10.113.0.23 and carry over, zones go round a, b and c', () => {
  assert.deepEqual(
    [0, 1, 2, 3, 233].map((index) => [all[index]?.privateIpAddress, all[index]?.availabilityZone]),
    [
      ['10.113.0.23', 'us-east-1a'],
      ['10.113.0.24', 'us-east-1b'],
      ['10.113.0.25', 'us-east-1c'],
      ['10.113.0.26', 'us-east-1a'],
      ['10.113.1.0', 'us-east-1c'],
    ],
  );
});

test('ids and ARNs have the shapes of real ones', () => {
  for (const node of all) {
    assert.match(node.instanceId, /^i-[0-9a-f]{17}$/);
    assert.match(node.instanceId, INSTANCE_ID);
    assert.match(node.machineId, /^[0-9a-f]{32}$/);
    assert.ok(isContainerInstanceArn(containerInstanceArn(node, 0, true)));
    assert.ok(isContainerInstanceArn(containerInstanceArn(node, 0, false)));
  }
  assert.deepEqual(new Set(all.map((node) => node.instanceLifecycle)), new Set(['on-demand', 'spot']));
});

test('each registration has an ARN of its own', () => {
  const [node] = all;
  assert.ok(node);
  const arns = [0, 1, 2].map((generation) => containerInstanceArn(node, generation, true));
  assert.equal(new Set(arns).size, 3);
  assert.match(arns[0] ?? '', /^arn:aws:ecs:us-east-1:123456789012:container-instance\/demo\/[0-9a-f-]{36}$/);
});

test('nodes go round the clusters, and each cluster has all zones; a fleet of one is as it ever was', () => {
  const three = Array.from({ length: 18 }, (_, index) => simulatedNode(index, { ...fleet, clusters: 3 }));
  assert.deepEqual(
    three.slice(0, 4).map((node) => node.cluster),
    ['demo', 'demo-2', 'demo-3', 'demo'],
  );
  for (const cluster of ['demo', 'demo-2', 'demo-3']) {
    const zones = three.filter((node) => node.cluster === cluster).map((node) => node.availabilityZone.at(-1));
    assert.deepEqual(zones, ['a', 'b', 'c', 'a', 'b', 'c']);
  }
  assert.equal(new Set(three.map((node) => node.instanceId)).size, 18);
  assert.equal(all[0]?.instanceId, 'i-e0436dc881a3085f6');
});
