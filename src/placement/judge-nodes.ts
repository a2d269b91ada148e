import type { ContainerInstance } from '../ecs/container-instance.ts';
import type { TaskRequirements } from '../ecs/defined-task.ts';
import type { NodeRecord } from '../record/record.ts';
import type { Roll, RollEntry } from '../record/roll.ts';
import { unreadableNodes } from '../store/unreadable-nodes.ts';
import type { Candidate } from './candidate.ts';
import { type Constraint, unmetReason } from './constraint.ts';
import type { PassedOver, PlacementTest } from './passed-over.ts';
import { unmetRequirement } from './unmet-requirement.ts';

export interface Judged {
  readonly candidates: readonly Candidate[];
  readonly passedOver: readonly PassedOver[];
}

/** Notices after which the node is gone within minutes; the other ones leave it for days or only advise. */
const ENDING_NOTICES = new Set(['spot-interruption', 'asg-termination']);

/**
 * Parts the nodes of one cluster into those that may be given tasks and those that may not, with the first reason; pure.
 * A candidate is present and passing on the roll, ACTIVE and connected in ECS, the same registration on both sides, and
 * meets every constraint and what the task definition requires. A node that left the roll and is not in ECS either is no node any more.
 * @param instances all container instances of the cluster @param requirements null: of no task definition
 */
export function judgeNodes(
  cluster: string,
  { entries, skipped }: Pick<Roll, 'entries' | 'skipped'>,
  instances: readonly ContainerInstance[],
  constraints: readonly Constraint[],
  requirements: TaskRequirements | null,
): Judged {
  const byId = new Map(entries.map((entry) => [entry.record.ec2InstanceId, entry]));
  const byArn = new Map(entries.map((entry) => [entry.record.containerInstanceArn, entry]));
  const candidates: Candidate[] = [];
  const passedOver: PassedOver[] = [];
  const inEcs = new Set<string>();
  const unreadable = unreadableNodes(skipped);
  for (const instance of instances) {
    const { ec2InstanceId, containerInstanceArn, remaining } = instance;
    const entry = ec2InstanceId === null ? byArn.get(containerInstanceArn) : byId.get(ec2InstanceId);
    const instanceId = entry?.record.ec2InstanceId ?? ec2InstanceId;
    const privateIpAddress = entry?.record.privateIpAddress ?? null;
    if (instanceId) inEcs.add(instanceId);
    const unread = instanceId === null || entry?.presence ? null : unreadable(instanceId);
    const doubt: Doubt | null = unread
      ? { test: 'roll', reason: unread }
      : firstDoubt(entry, instance, constraints, requirements);
    if (doubt) passedOver.push({ instanceId, containerInstanceArn, privateIpAddress, ...doubt });
    else if (instanceId) {
      const tasks = instance.runningTasksCount + instance.pendingTasksCount;
      const ownGpus = requirements?.ownGpus ?? 0;
      const mostTasks = ownGpus > 0 ? Math.floor(instance.gpus / ownGpus) : Number.POSITIVE_INFINITY;
      candidates.push({ instanceId, containerInstanceArn, privateIpAddress, remaining, tasks, mostTasks });
    }
  }
  for (const { record, presence } of entries) {
    if (!presence || record.cluster !== cluster || inEcs.has(record.ec2InstanceId)) continue;
    passedOver.push({
      instanceId: record.ec2InstanceId,
      containerInstanceArn: record.containerInstanceArn,
      privateIpAddress: record.privateIpAddress,
      test: 'registration',
      reason: unregistered(record, instances, cluster),
    });
  }
  return { candidates, passedOver };
}

/** Why ECS has no container instance of this node. */
function unregistered(record: NodeRecord, instances: readonly ContainerInstance[], cluster: string): string {
  const arn = record.containerInstanceArn;
  if (arn === null) return 'its ecs-agent has not registered it';
  const other = instances.find(({ containerInstanceArn }) => containerInstanceArn === arn)?.ec2InstanceId;
  return other ? `ECS has its container instance as ${other}` : `ECS has no such container instance in ${cluster}`;
}

interface Doubt {
  readonly test: PlacementTest;
  readonly reason: string;
}

function firstDoubt(
  entry: RollEntry | undefined,
  instance: ContainerInstance,
  constraints: readonly Constraint[],
  requirements: TaskRequirements | null,
): Doubt | null {
  if (!entry) return { test: 'roll', reason: 'not on the roll' };
  const { record } = entry;
  if (!entry.presence) return { test: 'roll', reason: absence(entry) };
  if (record.containerInstanceArn !== instance.containerInstanceArn) {
    const says = record.containerInstanceArn ?? 'that ecs-agent has not registered it';
    return { test: 'registration', reason: `not the registration on the roll, which says ${says}` };
  }
  if (instance.status !== 'ACTIVE') return { test: 'status', reason: instance.status || 'of no status in ECS' };
  if (!instance.agentConnected) return { test: 'connection', reason: 'agent disconnected' };
  if (record.health.status !== 'passing') return { test: 'health', reason: healthText(record) };
  if (record.interruption && ENDING_NOTICES.has(record.interruption.kind)) {
    const { kind, time } = record.interruption;
    return { test: 'notice', reason: `about to go: ${kind}${time === null ? '' : ` at ${time}`}` };
  }
  for (const constraint of constraints) {
    const reason = unmetReason(constraint, record, instance);
    if (reason) return { test: 'constraint', reason };
  }
  const lack = requirements && unmetRequirement(requirements, instance);
  return lack ? { test: 'definition', reason: lack } : null;
}

function absence({ record: { departure, health } }: RollEntry): string {
  if (departure) {
    return `not on the roll: departed at ${departure.at} (${departure.cause})`;
  }
  return `not on the roll: lost, its last record said ${health.status}`;
}

function healthText({ health }: NodeRecord): string {
  const reasons = health.checks.filter(({ status }) => status === health.status);
  return [`health ${health.status}`, ...reasons.map(({ name, reason }) => `${name} ${reason}`.trim())].join(': ');
}
