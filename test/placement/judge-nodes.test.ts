import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerInstance, TaskRequirements } from '../../src/ecs/ecs-api.ts';
import type { Constraint } from '../../src/placement/judge-nodes.ts';
import { judgeNodes } from '../../src/placement/judge-nodes.ts';
import type { Roll, RollEntry } from '../../src/record/roll.ts';
import { sampleArn, sampleEntry, sampleInstance } from './sample-instance.ts';

const critical = {
  status: 'critical',
  since: '2026-01-01T00:00:00.000Z',
  checks: [
    { name: 'ecs-agent', status: 'passing', reason: '', since: '2026-01-01T00:00:00.000Z' },
    { name: 'disk', status: 'critical', reason: '3% of / is free', since: '2026-01-01T00:00:00.000Z' },
  ],
} as const;
const notice = (kind: string) => ({ kind, action: 'terminate', time: '2030-01-01T00:00:00Z' });

const roll = (entries: readonly RollEntry[], skipped: Roll['skipped'] = []) => ({ entries, skipped });

/** The failed test of one node, as `test: reason`; null: the node is a candidate. */
function judge(
  entry: RollEntry | null,
  instance: ContainerInstance | null,
  constraints: readonly Constraint[] = [],
  requirements: TaskRequirements | null = null,
): string | null {
  const { candidates, passedOver } = judgeNodes(
    'demo',
    roll(entry ? [entry] : []),
    instance ? [instance] : [],
    constraints,
    requirements,
  );
  assert.equal(candidates.length + passedOver.length, entry || instance ? 1 : 0);
  return passedOver[0] ? `${passedOver[0].test}: ${passedOver[0].reason}` : null;
}

test('a node that passes all tests on both sides is a candidate, with its room and its tasks', () => {
  const instance = sampleInstance(1, { runningTasksCount: 3, pendingTasksCount: 2 });
  const { candidates, passedOver } = judgeNodes('demo', roll([sampleEntry(1)]), [instance], [], null);
  assert.deepEqual(passedOver, []);
  assert.deepEqual(candidates, [
    {
      instanceId: 'i-00000001',
      containerInstanceArn: sampleArn(1),
      privateIpAddress: '10.0.0.1',
      remaining: instance.remaining,
      tasks: 5,
      mostTasks: Number.POSITIVE_INFINITY,
    },
  ]);
});

test('a node that fails a test is passed over with the reason', () => {
  const absent = { ...sampleEntry(1), presence: null };
  const departed = {
    record: { ...sampleEntry(1).record, departure: { cause: 'stopped', at: '2026-02-03T04:05:06.000Z' } as const },
    presence: null,
  };
  assert.equal(judge(null, sampleInstance(1)), 'roll: not on the roll');
  assert.equal(judge(absent, sampleInstance(1)), 'roll: not on the roll: lost, last health passing');
  assert.equal(
    judge(departed, sampleInstance(1)),
    'roll: not on the roll: departed at 2026-02-03T04:05:06.000Z (stopped)',
  );
  assert.equal(judge(sampleEntry(1), null), 'registration: ECS has no container instance for it in demo');
  assert.match(
    judge(sampleEntry(1, { containerInstanceArn: sampleArn(2) }), sampleInstance(1)) ?? '',
    /^registration: another container instance ARN on the roll: arn:.*0002$/,
  );
  assert.match(judge(sampleEntry(1, { containerInstanceArn: null }), sampleInstance(1)) ?? '', /on the roll: none$/);
  assert.equal(judge(sampleEntry(1), sampleInstance(1, { status: 'DRAINING' })), 'status: DRAINING');
  assert.equal(
    judge(sampleEntry(1), sampleInstance(1, { agentConnected: false })),
    'connection: ecs-agent is disconnected',
  );
  assert.equal(
    judge(sampleEntry(1, { health: critical }), sampleInstance(1)),
    'health: health critical: disk 3% of / is free',
  );
  for (const kind of ['spot-interruption', 'asg-termination']) {
    assert.equal(
      judge(sampleEntry(1, { interruption: notice(kind) }), sampleInstance(1)),
      `notice: ends soon: ${kind} at 2030-01-01T00:00:00Z`,
    );
  }
  for (const kind of ['maintenance', 'rebalance-recommendation']) {
    assert.equal(judge(sampleEntry(1, { interruption: notice(kind) }), sampleInstance(1)), null);
  }
});

test('the reason for a node whose ARN belongs to another instance in ECS names that instance', () => {
  const copied = sampleInstance(1, { ec2InstanceId: 'i-00000009' });
  const { passedOver } = judgeNodes('demo', roll([sampleEntry(1)]), [copied], [], null);
  assert.deepEqual(
    passedOver.map(({ instanceId, reason }) => [instanceId, reason]),
    [
      ['i-00000009', 'not on the roll'],
      ['i-00000001', 'in ECS its container instance belongs to i-00000009'],
    ],
  );
  const starting = sampleEntry(1, { containerInstanceArn: null });
  assert.equal(judge(starting, null), 'registration: its ecs-agent has not registered yet');
});

test('a node whose record cannot be read is reported as unreadable, not as absent', () => {
  const reason = (key: string, entries: readonly RollEntry[]) =>
    judgeNodes('demo', roll(entries, [{ key, reason: 'not JSON' }]), [sampleInstance(1)], [], null).passedOver[0]
      ?.reason;
  assert.equal(reason('v1/records/i-00000001', []), 'its record cannot be read: not JSON');
  const absent = { ...sampleEntry(1), presence: null };
  assert.equal(reason('v1/presence/i-00000001', [absent]), 'its presence cannot be read: not JSON');
  assert.match(reason('v1/', []) ?? '', /^its record may be among those/);
  assert.equal(reason('v1/records/i-00000002', []), 'not on the roll');
  assert.equal(reason('v1/', [sampleEntry(1)]), undefined);
});

test('a node that is neither present nor in ECS, or is in another cluster, is ignored', () => {
  const gone = { ...sampleEntry(1), presence: null };
  const { candidates, passedOver } = judgeNodes(
    'demo',
    roll([gone, sampleEntry(2, { cluster: 'other' })]),
    [],
    [],
    null,
  );
  assert.deepEqual([candidates, passedOver], [[], []]);
});

test('of two container instances of one node the one on the roll is a candidate', () => {
  const old = sampleInstance(1, { containerInstanceArn: sampleArn(9) });
  const { candidates, passedOver } = judgeNodes('demo', roll([sampleEntry(1)]), [old, sampleInstance(1)], [], null);
  assert.deepEqual(
    [candidates.map((each) => each.containerInstanceArn), passedOver.map((each) => each.containerInstanceArn)],
    [[sampleArn(1)], [sampleArn(9)]],
  );
});

test('a container instance without an instance id is matched by its ARN', () => {
  assert.equal(judge(sampleEntry(1), sampleInstance(1, { ec2InstanceId: null })), null);
});

test('constraints test labels, az, instance type and ECS attributes; all must be met', () => {
  const holds = (text: string, entry = sampleEntry(1, { labels: { role: 'node', empty: '' } })) => {
    const [, name = '', operator = '==', value = ''] = /^(.*?)(==|!=)(.*)$/.exec(text) ?? [];
    return judge(entry, sampleInstance(1), [{ name, operator: operator as '==', value }]);
  };
  assert.equal(holds('role==node'), null);
  assert.equal(holds('role==db'), 'constraint: constraint role==db: role is node');
  assert.equal(holds('role!=node'), 'constraint: constraint role!=node: role is node');
  assert.equal(holds('role!=db'), null);
  assert.equal(holds('rack==7'), 'constraint: constraint rack==7: rack is not set');
  assert.equal(holds('rack!=7'), null);
  assert.equal(holds('toString==x'), 'constraint: constraint toString==x: toString is not set');
  assert.equal(holds('attribute:rack==7'), null);
  assert.equal(holds('attribute:rack!=7'), 'constraint: constraint attribute:rack!=7: attribute:rack is 7');
  assert.equal(holds('az==us-east-1a'), null);
  assert.equal(holds('instance-type==m5.large'), null);
  // ecs-agent's attributes replace values that are missing in the record.
  const external = sampleEntry(1, { availabilityZone: null, instanceType: null });
  assert.equal(holds('az==us-east-1b', external), null);
  assert.equal(holds('instance-type==m5.xlarge', external), null);
  const both: Constraint[] = [
    { name: 'role', operator: '==', value: 'node' },
    { name: 'az', operator: '!=', value: 'us-east-1a' },
  ];
  assert.equal(
    judge(sampleEntry(1), sampleInstance(1), both),
    'constraint: constraint az!=us-east-1a: az is us-east-1a',
  );
});

test('a node that lacks what the task definition requires is passed over', () => {
  const verdict = (attributes: TaskRequirements['attributes'], gpus: number, has = 0) =>
    judge(sampleEntry(1), sampleInstance(1, { gpus: has }), [], { attributes, gpus, ownGpus: gpus });
  const awslogs = { name: 'ecs.capability.logging-driver.awslogs', value: null };
  assert.equal(verdict([awslogs, { name: 'rack', value: '7' }], 0), null);
  const of = 'that the task definition requires';
  assert.equal(verdict([awslogs, { name: 'x', value: null }], 0), `definition: lacks the attribute x ${of}`);
  assert.equal(verdict([{ name: 'rack', value: '8' }], 0), `definition: lacks the attribute rack=8 ${of}`);
  assert.equal(verdict([], 2, 1), 'definition: GPUs: the task definition needs 2, the instance has 1');
  assert.equal(verdict([], 2, 2), null);
});

test('the GPUs of a host limit the tasks that need their own', () => {
  const mostTasks = (ownGpus: number) =>
    judgeNodes('demo', roll([sampleEntry(1)]), [sampleInstance(1, { gpus: 5 })], [], {
      ...{ attributes: [], gpus: 1, ownGpus },
    }).candidates.map((each) => each.mostTasks);
  assert.deepEqual([1, 2, 0].map(mostTasks), [[5], [2], [Number.POSITIVE_INFINITY]]);
});
