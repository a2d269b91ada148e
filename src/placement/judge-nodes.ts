import type { ContainerInstance, Resources, TaskNeeds, TaskRequirements } from '../ecs/ecs-api.ts';
import type { NodeRecord } from '../record/record.ts';
import type { Roll, RollEntry } from '../record/roll.ts';
import { unreadableNodes } from '../store/unreadable-nodes.ts';

/** A node that may get tasks, as many as it has room for. */
export interface Candidate {
  readonly instanceId: string;
  readonly containerInstanceArn: string;
  readonly privateIpAddress: string | null;
  /** Resources that its tasks do not use. */
  readonly remaining: Resources;
  /** Running and pending tasks, as ECS counts them. */
  readonly tasks: number;
  /** At most this many of the new tasks, by the GPUs of the host; Infinity if they need no GPUs of their own. */
  readonly mostTasks: number;
}

/** A condition on a node. If the name is not set on a node, `!=` is met and `==` is not. */
export interface Constraint {
  /** A rollcall label, `az`, `instance-type`, or `attribute:NAME` for an ECS attribute. */
  readonly name: string;
  readonly operator: '==' | '!=';
  readonly value: string;
}

const ATTRIBUTE = 'attribute:';

/** Why the node does not meet the constraint; null if it does. */
function unmetReason(constraint: Constraint, record: NodeRecord, instance: ContainerInstance): string | null {
  const { name, operator, value } = constraint;
  const actual = actualValue(name, record, instance);
  if ((actual === value) === (operator === '==')) return null;
  return `constraint ${name}${operator}${value}: ${actual === null ? `${name} is not set` : `${name} is ${actual}`}`;
}

function actualValue(name: string, record: NodeRecord, instance: ContainerInstance): string | null {
  const attribute = (wanted: string) => {
    const found = instance.attributes.find((each) => each.name === wanted);
    return found ? (found.value ?? '') : null;
  };
  // ecs-agent sets these two attributes itself. They replace a value that is missing in the record.
  if (name === 'az') return record.availabilityZone ?? attribute('ecs.availability-zone');
  if (name === 'instance-type') return record.instanceType ?? attribute('ecs.instance-type');
  if (name.startsWith(ATTRIBUTE)) return attribute(name.slice(ATTRIBUTE.length));
  return Object.hasOwn(record.labels, name) ? (record.labels[name] ?? null) : null;
}

/** The tests of a node, in this order. A node is passed over at the first test that it fails. */
export const PLACEMENT_TESTS = [
  'roll',
  'registration',
  'status',
  'connection',
  'health',
  'notice',
  'constraint',
  'definition',
  'room',
] as const;
type PlacementTest = (typeof PLACEMENT_TESTS)[number];

/** A node that gets no task, and why. An id, ARN or address is null if neither the roll nor ECS has it. */
export interface PassedOver {
  readonly instanceId: string | null;
  readonly containerInstanceArn: string | null;
  readonly privateIpAddress: string | null;
  readonly test: PlacementTest;
  /** One line for the user, with numbers. */
  readonly reason: string;
}

/**
 * What an instance lacks for a task definition, even without other tasks; null: nothing. ECS would refuse the task
 * (ATTRIBUTE, RESOURCE:GPU): https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
 */
function unmetRequirement(
  { attributes, gpus }: TaskRequirements,
  instance: Pick<ContainerInstance, 'attributes' | 'gpus'>,
): string | null {
  for (const { name, value } of attributes) {
    const found = instance.attributes.filter((each) => each.name === name);
    if (found.some((each) => value === null || each.value === value)) continue;
    return `lacks the attribute ${name}${value === null ? '' : `=${value}`} that the task definition requires`;
  }
  if (gpus <= instance.gpus) return null;
  return `GPUs: the task definition needs ${gpus}, the instance has ${instance.gpus}`;
}

interface Judged {
  readonly candidates: readonly Candidate[];
  readonly passedOver: readonly PassedOver[];
}

/** Notices after which the node ends within minutes. Other notices are days ahead or only advice. */
const ENDING_NOTICES = new Set(['spot-interruption', 'asg-termination']);

/**
 * Splits the nodes of one cluster into candidates and passed-over nodes, with the first failed test; pure. A candidate is
 * present and passing on the roll, ACTIVE and connected in ECS, has the same container instance ARN on both sides, and
 * meets all constraints and the requirements of the task definition. A node that is neither present nor in ECS is ignored.
 * @param instances all container instances of the cluster @param requirements null: no task definition
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
    const failed: FailedTest | null = unread
      ? { test: 'roll', reason: unread }
      : firstFailedTest(entry, instance, constraints, requirements);
    if (failed) passedOver.push({ instanceId, containerInstanceArn, privateIpAddress, ...failed });
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

/** Why the node has no container instance in ECS. */
function unregistered(record: NodeRecord, instances: readonly ContainerInstance[], cluster: string): string {
  const arn = record.containerInstanceArn;
  if (arn === null) return 'its ecs-agent has not registered yet';
  const other = instances.find(({ containerInstanceArn }) => containerInstanceArn === arn)?.ec2InstanceId;
  return other
    ? `in ECS its container instance belongs to ${other}`
    : `ECS has no container instance for it in ${cluster}`;
}

interface FailedTest {
  readonly test: PlacementTest;
  readonly reason: string;
}

function firstFailedTest(
  entry: RollEntry | undefined,
  instance: ContainerInstance,
  constraints: readonly Constraint[],
  requirements: TaskRequirements | null,
): FailedTest | null {
  if (!entry) return { test: 'roll', reason: 'not on the roll' };
  const { record } = entry;
  if (!entry.presence) return { test: 'roll', reason: absence(entry) };
  if (record.containerInstanceArn !== instance.containerInstanceArn) {
    const arn = record.containerInstanceArn ?? 'none';
    return { test: 'registration', reason: `another container instance ARN on the roll: ${arn}` };
  }
  if (instance.status !== 'ACTIVE') return { test: 'status', reason: instance.status || 'no status in ECS' };
  if (!instance.agentConnected) return { test: 'connection', reason: 'ecs-agent is disconnected' };
  if (record.health.status !== 'passing') return { test: 'health', reason: healthText(record) };
  if (record.interruption && ENDING_NOTICES.has(record.interruption.kind)) {
    const { kind, time } = record.interruption;
    return { test: 'notice', reason: `ends soon: ${kind}${time === null ? '' : ` at ${time}`}` };
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
  return `not on the roll: lost, last health ${health.status}`;
}

function healthText({ health }: NodeRecord): string {
  const reasons = health.checks.filter(({ status }) => status === health.status);
  return [`health ${health.status}`, ...reasons.map(({ name, reason }) => `${name} ${reason}`.trim())].join(': ');
}

/** How many of these tasks fit, at most `limit`. Only one task with a fixed host port fits. */
export function capacity(remaining: Resources, needs: TaskNeeds, limit: number): number {
  if (shortfalls(remaining, needs).length > 0) return 0;
  if (needs.ports.length + needs.portsUdp.length > 0) return Math.min(1, limit);
  // A need of 0 sets no bound; it must not be a divisor.
  const times = (has: number, need: number) => (need === 0 ? limit : Math.floor(has / need));
  return Math.min(limit, times(remaining.cpuUnits, needs.cpuUnits), times(remaining.memoryMiB, needs.memoryMiB));
}

/** The resources that remain after `tasks` of these tasks are placed. */
export function remainingAfter(remaining: Resources, needs: TaskNeeds, tasks: number): Resources {
  if (tasks === 0) return remaining;
  return {
    cpuUnits: remaining.cpuUnits - tasks * needs.cpuUnits,
    memoryMiB: remaining.memoryMiB - tasks * needs.memoryMiB,
    ports: [...remaining.ports, ...needs.ports],
    portsUdp: [...remaining.portsUdp, ...needs.portsUdp],
  };
}

/** What is missing for one more task, with numbers; empty: it fits. */
export function shortfalls(remaining: Resources, needs: TaskNeeds): readonly string[] {
  const lacks: string[] = [];
  if (needs.memoryMiB > remaining.memoryMiB) {
    lacks.push(`memory: needs ${needs.memoryMiB} MiB, has ${remaining.memoryMiB} left`);
  }
  if (needs.cpuUnits > remaining.cpuUnits) {
    lacks.push(`cpu: needs ${needs.cpuUnits} units, has ${remaining.cpuUnits} left`);
  }
  for (const port of needs.ports) if (remaining.ports.includes(port)) lacks.push(`port ${port} is in use`);
  for (const port of needs.portsUdp) if (remaining.portsUdp.includes(port)) lacks.push(`port ${port}/udp is in use`);
  return lacks;
}
