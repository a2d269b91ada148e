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

/** The one node that is passed over, as `test: reason`; null: it is a candidate. */
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

test('a node that both sides call well is a candidate, with its room and its tasks', () => {
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

test('each doubt passes a node over, and says why', () => {
  const absent = { ...sampleEntry(1), presence: null };
  const departed = {
    record: { ...sampleEntry(1).record, departure: { cause: 'stopped', at: '2026-02-03T04:05:06.000Z' } as const },
    presence: null,
  };
  assert.equal(judge(null, sampleInstance(1)), 'roll: not on the roll');
  assert.equal(judge(absent, sampleInstance(1)), 'roll: not on the roll: lost, its last record said passing');
  assert.equal(
    judge(departed, sampleInstance(1)),
    'roll: not on the roll: departed at 2026-02-03T04:05:06.000Z (stopped)',
  );
  assert.equal(judge(sampleEntry(1), null), 'registration: ECS has no such container instance in demo');
  assert.match(
    judge(sampleEntry(1, { containerInstanceArn: sampleArn(2) }), sampleInstance(1)) ?? '',
    /^registration: not the registration on the roll, which says arn:.*0002$/,
  );
  assert.match(judge(sampleEntry(1, { containerInstanceArn: null }), sampleInstance(1)) ?? '', /has not registered it/);
  assert.equal(judge(sampleEntry(1), sampleInstance(1, { status: 'DRAINING' })), 'status: DRAINING');
  assert.equal(judge(sampleEntry(1), sampleInstance(1, { agentConnected: false })), 'connection: agent disconnected');
  assert.equal(
    judge(sampleEntry(1, { health: critical }), sampleInstance(1)),
    'health: health critical: disk 3% of / is free',
  );
  for (const kind of ['spot-interruption', 'asg-termination']) {
    assert.equal(
      judge(sampleEntry(1, { interruption: notice(kind) }), sampleInstance(1)),
      `notice: about to go: ${kind} at 2030-01-01T00:00:00Z`,
    );
  }
  for (const kind of ['maintenance', 'rebalance-recommendation']) {
    assert.equal(judge(sampleEntry(1, { interruption: notice(kind) }), sampleInstance(1)), null);
  }
});

test('a node that ECS does not have under its id is told what ECS has instead', () => {
  const copied = sampleInstance(1, { ec2InstanceId: 'i-00000009' });
  const { passedOver } = judgeNodes('demo', roll([sampleEntry(1)]), [copied], [], null);
  assert.deepEqual(
    passedOver.map(({ instanceId, reason }) => [instanceId, reason]),
    [
      ['i-00000009', 'not on the roll'],
      ['i-00000001', 'ECS has its container instance as i-00000009'],
    ],
  );
  const starting = sampleEntry(1, { containerInstanceArn: null });
  assert.equal(judge(starting, null), 'registration: its ecs-agent has not registered it');
});

test('who is on the roll and cannot be read is not said to be absent', () => {
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

test('who left the roll and is not in ECS, or is of another cluster, is no node of this one', () => {
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

test('of two registrations of one node the one on the roll is taken', () => {
  const old = sampleInstance(1, { containerInstanceArn: sampleArn(9) });
  const { candidates, passedOver } = judgeNodes('demo', roll([sampleEntry(1)]), [old, sampleInstance(1)], [], null);
  assert.deepEqual(
    [candidates.map((each) => each.containerInstanceArn), passedOver.map((each) => each.containerInstanceArn)],
    [[sampleArn(1)], [sampleArn(9)]],
  );
});

test('where ECS does not say which instance it is, the ARN does', () => {
  assert.equal(judge(sampleEntry(1), sampleInstance(1, { ec2InstanceId: null })), null);
});

test('constraints ask labels, az, instance type and attributes of ECS; all must hold', () => {
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
  // What the record does not know, ecs-agent may have said.
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

test('what the task definition requires of a node, whatever runs there, passes it over', () => {
  const verdict = (attributes: TaskRequirements['attributes'], gpus: number, has = 0) =>
    judge(sampleEntry(1), sampleInstance(1, { gpus: has }), [], { attributes, gpus, ownGpus: gpus });
  const awslogs = { name: 'ecs.capability.logging-driver.awslogs', value: null };
  assert.equal(verdict([awslogs, { name: 'rack', value: '7' }], 0), null);
  const of = 'that the task definition requires';
  assert.equal(verdict([awslogs, { name: 'x', value: null }], 0), `definition: without the attribute x ${of}`);
  assert.equal(verdict([{ name: 'rack', value: '8' }], 0), `definition: without the attribute rack=8 ${of}`);
  assert.equal(verdict([], 2, 1), 'definition: GPUs: the task definition needs 2, the instance has 1');
  assert.equal(verdict([], 2, 2), null);
});

test('a host has as many tasks of a placement as it has GPUs for, where each wants its own', () => {
  const mostTasks = (ownGpus: number) =>
    judgeNodes('demo', roll([sampleEntry(1)]), [sampleInstance(1, { gpus: 5 })], [], {
      ...{ attributes: [], gpus: 1, ownGpus },
    }).candidates.map((each) => each.mostTasks);
  assert.deepEqual([1, 2, 0].map(mostTasks), [[5], [2], [Number.POSITIVE_INFINITY]]);
});
