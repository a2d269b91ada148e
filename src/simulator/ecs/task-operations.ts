import { createHash } from 'node:crypto';
import {
  AwsError,
  type Circumstances,
  type Failure,
  invalidParameter,
  namedInstances,
  type Operation,
  page,
  type RequestInput,
  requiredClusterArn,
} from './operations.ts';
import {
  type ContainerDefinition,
  type EcsWorld,
  needsOf,
  type PortMapping,
  type Room,
  type SimulatedInstance,
  type SimulatedTask,
  type TaskDefinition,
  withInstances,
} from './world.ts';

/** Maximum containers of one task, and ports of one container. */
const MAX_LISTED = 10;
const NETWORK_MODES = ['bridge', 'host', 'awsvpc', 'none'];

export const describeTaskDefinition: Operation = (world, input, circumstances) => {
  const taskDefinition = findTaskDefinition(world, input.requiredText('taskDefinition'), circumstances);
  if (!taskDefinition) throw new AwsError('ClientException', 'Unable to describe task definition.');
  return { world, body: { taskDefinition, tags: [] } };
};

/** Registers the family's next revision. Of a container definition only the resources are kept. */
export const registerTaskDefinition: Operation = (world, input, { region }) => {
  const family = input.requiredText('family');
  if (!/^[A-Za-z0-9_-]{1,255}$/.test(family)) throw invalidParameter(`Invalid family: ${family}.`);
  const networkMode = input.text('networkMode') ?? 'bridge';
  if (!NETWORK_MODES.includes(networkMode)) throw invalidParameter(`Invalid network mode: ${networkMode}.`);
  const containers = input.items('containerDefinitions', MAX_LISTED).map(readContainer);
  const [cpu, memory] = [readSize(input, 'cpu'), readSize(input, 'memory')];
  if (containers.length === 0) throw new AwsError('ClientException', 'Container list cannot be empty.');
  if (memory === undefined && containers.some((c) => c.memory === undefined && c.memoryReservation === undefined)) {
    const rule = 'At least one of memory or memoryReservation must be specified for every container';
    throw new AwsError('ClientException', `Invalid setting for container: ${rule}.`);
  }
  const revisions = world.taskDefinitions.get(family) ?? [];
  const revision = revisions.length + 1;
  const taskDefinition: TaskDefinition = {
    taskDefinitionArn: `arn:aws:ecs:${region}:${world.accountId}:task-definition/${family}:${revision}`,
    family,
    revision,
    status: 'ACTIVE',
    networkMode,
    ...(cpu === undefined ? {} : { cpu }),
    ...(memory === undefined ? {} : { memory }),
    containerDefinitions: containers,
  };
  const taskDefinitions = new Map(world.taskDefinitions).set(family, [...revisions, taskDefinition]);
  return { world: { ...world, taskDefinitions }, body: { taskDefinition, tags: [] } };
};

/** @param name `family` for its latest revision, `family:revision`, or an ARN */
function findTaskDefinition(world: EcsWorld, name: string, { region }: Circumstances): TaskDefinition | undefined {
  const [family = '', revision] = (name.split('/').at(-1) ?? name).split(':');
  const found = world.taskDefinitions.get(family)?.at(revision === undefined ? -1 : Number(revision) - 1);
  const arn = found?.taskDefinitionArn;
  const named = name.startsWith('arn:') ? name === arn : revision === undefined || revision === String(found?.revision);
  return named && arn?.split(':')[3] === region ? found : undefined;
}

function readContainer(input: RequestInput): ContainerDefinition {
  const [memory, memoryReservation] = [input.integer('memory'), input.integer('memoryReservation')];
  return {
    name: input.requiredText('name'),
    image: input.requiredText('image'),
    cpu: input.integer('cpu') ?? 0,
    ...(memory === undefined ? {} : { memory }),
    ...(memoryReservation === undefined ? {} : { memoryReservation }),
    portMappings: input.items('portMappings', MAX_LISTED).map(readMapping),
  };
}

function readMapping(input: RequestInput): PortMapping {
  const protocol = input.text('protocol') ?? 'tcp';
  if (protocol !== 'tcp' && protocol !== 'udp') throw invalidParameter(`Invalid protocol: ${protocol}.`);
  return { containerPort: input.integer('containerPort') ?? 0, hostPort: input.integer('hostPort') ?? 0, protocol };
}

function readSize(input: RequestInput, name: string): string | undefined {
  const size = input.text(name);
  if (size === undefined || /^\d{1,9}$/.test(size)) return size;
  throw invalidParameter(`Invalid '${name}' setting for task: ${size}.`);
}

/** Starts one task on each instance with the room. A task is RUNNING at once. */
export const startTask: Operation = (world, input, circumstances) => {
  const cluster = requiredClusterArn(world, input, circumstances);
  const definition = findTaskDefinition(world, input.requiredText('taskDefinition'), circumstances);
  const { found, failures } = namedInstances(world, input, { cluster, max: 10, nowMs: circumstances.nowMs });
  if (!definition) throw new AwsError('ClientException', 'TaskDefinition not found.');
  const needs = needsOf(definition);
  const refused: Failure[] = [];
  const started: SimulatedTask[] = [];
  let next = world;
  for (const { containerInstanceArn } of found) {
    // Read again, because an instance that is named twice has less room the second time.
    const instance = next.instances.get(containerInstanceArn);
    const reason = instance ? reasonAgainst(instance, needs) : 'MISSING';
    if (!instance || reason !== null) {
      refused.push({ arn: containerInstanceArn, reason: reason ?? 'MISSING' });
      continue;
    }
    const task: SimulatedTask = {
      taskArn: taskArn(cluster, next.serial),
      clusterArn: cluster,
      containerInstanceArn,
      taskDefinitionArn: definition.taskDefinitionArn,
      group: input.text('group') ?? `family:${definition.family}`,
      startedBy: input.text('startedBy') ?? null,
      createdAtMs: circumstances.wallMs,
      needs,
    };
    started.push(task);
    const tasks = new Map(next.tasks).set(task.taskArn, task);
    next = { ...withInstances(next, [occupied(instance, needs)]), tasks, serial: next.serial + 1 };
  }
  const tasks = started.map((task) => wireTask(task, 'PENDING', 'RUNNING'));
  return { world: next, body: { tasks, failures: [...failures, ...refused] } };
};

export const listTasks: Operation = (world, input, circumstances) => {
  const cluster = requiredClusterArn(world, input, circumstances);
  const instance = input.text('containerInstance');
  const tasks = [...world.tasks.values()].filter(
    (task) => task.clusterArn === cluster && (instance === undefined || lastPart(task.containerInstanceArn, instance)),
  );
  const { items, ...next } = page(
    tasks.map(({ taskArn: arn }) => [arn, arn] as const),
    `ListTasks ${cluster} ${instance ?? ''}`,
    input,
  );
  return { world, body: { taskArns: items, ...next } };
};

export const describeTasks: Operation = (world, input, circumstances) => {
  const cluster = requiredClusterArn(world, input, circumstances);
  const names = input.texts('tasks', 100, 'tasks');
  if (names.length === 0) throw invalidParameter('Tasks cannot be empty.');
  const found = names.map((name) => ({ name, task: findTask(world, cluster, name) }));
  const tasks = found.flatMap(({ task }) => (task ? [wireTask(task, 'RUNNING', 'RUNNING')] : []));
  const failures = found.flatMap(({ name, task }) => (task ? [] : [{ arn: name, reason: 'MISSING' }]));
  return { world, body: { tasks, failures } };
};

/** The task is removed at once; the real ECS shows it for another hour. */
export const stopTask: Operation = (world, input, circumstances) => {
  const cluster = requiredClusterArn(world, input, circumstances);
  const task = findTask(world, cluster, input.requiredText('task'));
  if (!task) throw invalidParameter('The referenced task was not found.');
  const tasks = new Map(world.tasks);
  tasks.delete(task.taskArn);
  const instance = world.instances.get(task.containerInstanceArn);
  const freed = instance ? withInstances(world, [vacated(instance, task.needs)]) : world;
  return { world: { ...freed, tasks }, body: { task: wireTask(task, 'STOPPED', 'STOPPED') } };
};

/** Reasons: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html */
function reasonAgainst({ status, agentConnected, remaining }: SimulatedInstance, needs: Room): string | null {
  if (status !== 'ACTIVE') return 'INACTIVE';
  if (!agentConnected) return 'AGENT';
  if (needs.cpuUnits > remaining.cpuUnits) return 'RESOURCE:CPU';
  if (needs.memoryMiB > remaining.memoryMiB) return 'RESOURCE:MEMORY';
  const taken = (wanted: readonly number[], used: readonly number[]) => wanted.some((port) => used.includes(port));
  const collides = taken(needs.ports, remaining.ports) || taken(needs.portsUdp, remaining.portsUdp);
  return collides ? 'RESOURCE:PORTS' : null;
}

function occupied(instance: SimulatedInstance, needs: Room): SimulatedInstance {
  const { cpuUnits, memoryMiB, ports, portsUdp } = instance.remaining;
  const remaining = {
    cpuUnits: cpuUnits - needs.cpuUnits,
    memoryMiB: memoryMiB - needs.memoryMiB,
    ports: [...ports, ...needs.ports],
    portsUdp: [...portsUdp, ...needs.portsUdp],
  };
  return { ...instance, remaining, runningTasksCount: instance.runningTasksCount + 1 };
}

function vacated(instance: SimulatedInstance, needs: Room): SimulatedInstance {
  const { cpuUnits, memoryMiB, ports, portsUdp } = instance.remaining;
  const remaining = {
    cpuUnits: cpuUnits + needs.cpuUnits,
    memoryMiB: memoryMiB + needs.memoryMiB,
    ports: ports.filter((port) => !needs.ports.includes(port)),
    portsUdp: portsUdp.filter((port) => !needs.portsUdp.includes(port)),
  };
  return { ...instance, remaining, runningTasksCount: Math.max(0, instance.runningTasksCount - 1) };
}

function wireTask(task: SimulatedTask, lastStatus: string, desiredStatus: string): Readonly<Record<string, unknown>> {
  const { createdAtMs, needs, startedBy, ...named } = task;
  const size = { cpu: String(needs.cpuUnits), memory: String(needs.memoryMiB) };
  const started = startedBy === null ? {} : { startedBy };
  return {
    ...named,
    ...started,
    ...size,
    lastStatus,
    desiredStatus,
    launchType: 'EC2',
    createdAt: createdAtMs / 1_000,
  };
}

function findTask(world: EcsWorld, cluster: string, name: string): SimulatedTask | undefined {
  const all = [...world.tasks.values()];
  return all.find((task) => task.clusterArn === cluster && lastPart(task.taskArn, name));
}

/** True if `name` is this ARN or its id. */
function lastPart(arn: string, name: string): boolean {
  return arn === name || arn.endsWith(`/${name}`);
}

function taskArn(cluster: string, serial: number): string {
  const id = createHash('sha256').update(`${cluster} ${serial}`).digest('hex').slice(0, 32);
  return `${cluster.replace(':cluster/', ':task/')}/${id}`;
}
