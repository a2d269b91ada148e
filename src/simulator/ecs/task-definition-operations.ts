import { AwsError, invalidParameter } from './aws-error.ts';
import type { Circumstances, Operation } from './operation.ts';
import type { RequestInput } from './request-input.ts';
import type { ContainerDefinition, PortMapping, TaskDefinition } from './task-definition.ts';
import type { EcsWorld } from './world.ts';

/** Containers of one task, and ports of one container. */
const MAX_LISTED = 10;
const NETWORK_MODES = ['bridge', 'host', 'awsvpc', 'none'];

export const describeTaskDefinition: Operation = (world, input, circumstances) => {
  const taskDefinition = findTaskDefinition(world, input.requiredText('taskDefinition'), circumstances);
  if (!taskDefinition) throw new AwsError('ClientException', 'Unable to describe task definition.');
  return { world, body: { taskDefinition, tags: [] } };
};

/** The family's next revision. Of a container definition it keeps what decides where a task finds room. */
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
export function findTaskDefinition(
  world: EcsWorld,
  name: string,
  { region }: Circumstances,
): TaskDefinition | undefined {
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
