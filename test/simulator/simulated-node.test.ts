import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isContainerInstanceArn } from '../../src/ecs/arn.ts';
import { INSTANCE_ID } from '../../src/record/codec.ts';
import { MAX_NODES } from '../../src/simulator/limits.ts';
import {
  containerInstanceArn,
  IMDS_FAULTS,
  INTROSPECTION_FAULTS,
  parseFaults,
  parseNotices,
  simulatedNode,
} from '../../src/simulator/simulated-node.ts';

describe('faults', () => {
  test('each fault is read for its server, and other servers are left out', () => {
    for (const imds of IMDS_FAULTS) assert.deepEqual(parseFaults({ imds }), { imds });
    for (const introspection of INTROSPECTION_FAULTS)
      assert.deepEqual(parseFaults({ introspection }), { introspection });
    assert.deepEqual(parseFaults({}), {});
  });

  test('an unknown fault is an error with the allowed ones', () => {
    assert.throws(() => parseFaults({ imds: 'null-arn' }), {
      name: 'UsageError',
      message: `imds fault "null-arn" is unknown; use one of ${IMDS_FAULTS.join(', ')}`,
    });
    assert.throws(() => parseFaults({ introspection: 42 }), {
      message: `introspection fault 42 is unknown; use one of ${INTROSPECTION_FAULTS.join(', ')}`,
    });
  });

  test('an unknown server, and a body that is not an object, are errors', () => {
    assert.throws(() => parseFaults({ etcd: 'hang' }), {
      message: 'faults: unknown key "etcd"; use any of imds, introspection',
    });
    for (const value of [null, [], 'hang', 42]) assert.throws(() => parseFaults(value), { name: 'UsageError' });
  });
});

describe('notices', () => {
  const event = {
    Code: 'system-reboot',
    NotBefore: '21 Jan 2027 09:00:43 GMT',
    NotAfter: '21 Jan 2027 09:17:23 GMT',
    Description: 'scheduled reboot',
    EventId: 'instance-event-0d59937288b749b32',
    State: 'active',
  };

  test('given notices are read as they are, and others are left out', () => {
    for (const notices of [
      {},
      { spot: { action: 'terminate', time: '2026-11-22T10:26:18Z' } },
      { spot: null, rebalance: { noticeTime: '2026-11-22T10:26:18Z' } },
      { maintenance: [event, { ...event, State: 'completed' }] },
      { lifecycleState: 'Terminated' },
      { lifecycleState: null },
    ]) {
      assert.deepEqual(parseNotices(notices), notices);
    }
  });

  test('an invalid notice is refused in one line with its path', () => {
    for (const [value, where] of [
      [{ spot: { action: 'explode', time: '2026-11-22T10:26:18Z' } }, 'spot.action'],
      [{ spot: { action: 'stop', time: 'soon' } }, 'spot.time'],
      [{ rebalance: {} }, 'rebalance.noticeTime'],
      [{ maintenance: [{ ...event, State: 'maybe' }] }, 'maintenance.0.State'],
      [{ maintenance: Array(21).fill(event) }, 'maintenance'],
      [{ lifecycleState: 'In Service' }, 'lifecycleState'],
      [{ weather: 'fine' }, 'unknown key "weather"; use any of spot, rebalance, maintenance, lifecycleState'],
      [[], 'expected a JSON object with any of spot, rebalance, maintenance, lifecycleState'],
      ['spot', 'expected a JSON object'],
    ] as const) {
      assert.throws(
        () => parseNotices(value),
        (error: Error) => error.name === 'UsageError' && error.message.startsWith(`notices: ${where}`),
        JSON.stringify(value),
      );
    }
  });
});

describe('simulated node', () => {
  const fleet = { seed: 'seed', cluster: 'demo' };
  const all = Array.from({ length: MAX_NODES }, (_, index) => simulatedNode(index, fleet));

  test('equal arguments give equal nodes, another seed gives other ids', () => {
    assert.deepEqual(simulatedNode(7, fleet), all[7]);
    assert.notEqual(simulatedNode(7, { ...fleet, seed: 'other' }).instanceId, all[7]?.instanceId);
  });

  test('no two nodes of a fleet have the same id, machine id or address', () => {
    for (const key of ['instanceId', 'machineId', 'privateIpAddress'] as const) {
      assert.equal(new Set(all.map((node) => node[key])).size, MAX_NODES, key);
    }
  });

  test('addresses count from 10.113.0.23 across octets, and zones alternate between a, b and c', () => {
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

  test('ids and ARNs have the forms of real ones', () => {
    for (const node of all) {
      assert.match(node.instanceId, /^i-[0-9a-f]{17}$/);
      assert.match(node.instanceId, INSTANCE_ID);
      assert.match(node.machineId, /^[0-9a-f]{32}$/);
      assert.ok(isContainerInstanceArn(containerInstanceArn(node, 0, true)));
      assert.ok(isContainerInstanceArn(containerInstanceArn(node, 0, false)));
    }
    assert.deepEqual(new Set(all.map((node) => node.instanceLifecycle)), new Set(['on-demand', 'spot']));
  });

  test('each registration has its own ARN', () => {
    const [node] = all;
    assert.ok(node);
    const arns = [0, 1, 2].map((generation) => containerInstanceArn(node, generation, true));
    assert.equal(new Set(arns).size, 3);
    assert.match(arns[0] ?? '', /^arn:aws:ecs:us-east-1:123456789012:container-instance\/demo\/[0-9a-f-]{36}$/);
  });

  test('nodes alternate between the clusters, and each cluster has all zones; one cluster is the default', () => {
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
});
