import type { Resource, ContainerInstance as SdkInstance, TaskDefinition } from '@aws-sdk/client-ecs';
import { clusterName, shortId } from '../arn.ts';
import type {
  ContainerInstance,
  DefinedTask,
  Described,
  Failure,
  Page,
  Resources,
  Started,
  TaskNeeds,
} from '../ecs-api.ts';
import { AnswerError } from './call.ts';

/**
 * The SDK does not validate answers: a body of `""` or `null` becomes an answer without fields. So the parsers throw an
 * AnswerError if the essential part is missing. An empty list instead would mean that the cluster has no instances.
 */
type SdkFailure = { readonly arn?: string | undefined; readonly reason?: string | undefined };

export function parsePage(arns: readonly string[] | undefined, next: string | undefined): Page {
  return { arns: list('ARNs', arns).map((arn) => requireArn(arn)), next: nonEmptyText(next) };
}

/**
 * @param cluster from the request, because the answer does not contain it
 * @param asked the requested ARNs; one that is not in the answer becomes a failure with the reason `UNANSWERED`
 * @param keepWhole see `EcsSettings.keepWhole`
 */
export function parseDescribed(
  cluster: string,
  asked: readonly string[],
  answer: { readonly containerInstances?: SdkInstance[] | undefined; readonly failures?: SdkFailure[] | undefined },
  keepWhole = false,
): Described {
  const name = clusterName(cluster) ?? cluster;
  const whole = wholeArns(asked);
  const instances = list('containerInstances', answer.containerInstances).map((each) => {
    const instance = parseInstance(name, each, keepWhole);
    return { ...instance, containerInstanceArn: whole(instance.containerInstanceArn) };
  });
  return { instances, failures: parseFailures(answer.failures, asked, instances) };
}

export function parseStarted(
  asked: readonly string[],
  answer: {
    readonly tasks?: { taskArn?: string | undefined; containerInstanceArn?: string | undefined }[] | undefined;
    readonly failures?: SdkFailure[] | undefined;
  },
): Started {
  const whole = wholeArns(asked);
  const tasks = list('tasks', answer.tasks).map((task) => ({
    taskArn: requireArn(task.taskArn),
    containerInstanceArn: whole(requireArn(task.containerInstanceArn)),
  }));
  return { tasks, failures: parseFailures(answer.failures, asked, tasks) };
}

/** A task's own CPU and memory or, without them, the sums of its containers, by reservation if there is one. */
export function parseTaskNeeds(definition: TaskDefinition | undefined): TaskNeeds {
  const containers = list('containerDefinitions', definition?.containerDefinitions);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const ownPorts = definition?.networkMode === 'awsvpc' || definition?.networkMode === 'none';
  const mappings = ownPorts ? [] : containers.flatMap((container) => container.portMappings ?? []);
  const hostPorts = (protocol: string) =>
    mappings
      .filter((mapping) => (mapping.protocol ?? 'tcp') === protocol)
      // Without a host port docker chooses a free one. On the host's network the container port is the host port.
      .map((mapping) => (definition?.networkMode === 'host' ? mapping.containerPort : mapping.hostPort))
      .filter(isPort);
  return {
    cpuUnits: Number(definition?.cpu ?? Number.NaN) || sum(containers.map(({ cpu }) => amount(cpu))),
    memoryMiB:
      Number(definition?.memory ?? Number.NaN) ||
      sum(containers.map(({ memory, memoryReservation }) => amount(memoryReservation ?? memory))),
    ports: hostPorts('tcp'),
    portsUdp: hostPorts('udp'),
  };
}

function parseInstance(cluster: string, instance: SdkInstance, keepWhole: boolean): ContainerInstance {
  return {
    containerInstanceArn: requireArn(instance.containerInstanceArn),
    cluster,
    ec2InstanceId: nonEmptyText(instance.ec2InstanceId),
    status: nonEmptyText(instance.status) ?? '',
    agentConnected: instance.agentConnected === true,
    // The SDK makes an invalid date of a number that is too great.
    registeredAt: Number.isNaN(instance.registeredAt?.getTime())
      ? null
      : (instance.registeredAt?.toISOString() ?? null),
    agentVersion: nonEmptyText(instance.versionInfo?.agentVersion),
    runningTasksCount: amount(instance.runningTasksCount),
    pendingTasksCount: amount(instance.pendingTasksCount),
    registered: parseResources(instance.registeredResources),
    remaining: parseResources(instance.remainingResources),
    gpus: instance.registeredResources?.find(({ name }) => name === 'GPU')?.stringSetValue?.length ?? 0,
    attributes: (instance.attributes ?? []).map(({ name = '', value }) => ({ name, value: nonEmptyText(value) })),
    described: keepWhole ? { ...instance, cluster } : null,
  };
}

function parseResources(resources: readonly Resource[] | undefined): Resources {
  const named = new Map((resources ?? []).map((resource) => [resource.name, resource]));
  const ports = (name: string) => (named.get(name)?.stringSetValue ?? []).map(Number).filter(isPort);
  return {
    cpuUnits: amount(named.get('CPU')?.integerValue),
    memoryMiB: amount(named.get('MEMORY')?.integerValue),
    ports: ports('PORTS'),
    portsUdp: ports('PORTS_UDP'),
  };
}

/** An answer may name an ARN without its cluster part, or only the id: what is behind the last slash tells which was asked. */
function wholeArns(asked: readonly string[]): (arn: string) => string {
  const byId = new Map(asked.map((arn) => [shortId(arn), arn]));
  return (arn) => byId.get(shortId(arn)) ?? arn;
}

function parseFailures(
  failures: readonly SdkFailure[] | undefined,
  asked: readonly string[],
  found: readonly { readonly containerInstanceArn: string }[],
): readonly Failure[] {
  const whole = wholeArns(asked);
  const said = (failures ?? []).map(({ arn, reason }) => ({
    arn: whole(nonEmptyText(arn) ?? ''),
    reason: nonEmptyText(reason) ?? 'unknown',
  }));
  const answered = new Set([...found.map((one) => one.containerInstanceArn), ...said.map(({ arn }) => arn)]);
  const unanswered = asked.filter((arn) => !answered.has(arn));
  return [...said, ...unanswered.map((arn) => ({ arn, reason: 'UNANSWERED' }))];
}

function list<T>(name: string, value: readonly T[] | undefined): readonly T[] {
  if (!Array.isArray(value)) throw new AnswerError(`it has no list of ${name}`);
  return value;
}

function requireArn(value: unknown): string {
  if (typeof value !== 'string' || !value.startsWith('arn:')) throw new AnswerError('it has no ARN');
  return value;
}

function nonEmptyText(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function amount(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

function isPort(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536;
}

/** @throws AnswerError if the answer has no definition */
export function parseDefinedTask(definition: TaskDefinition | undefined): DefinedTask {
  const needs = parseTaskNeeds(definition);
  const gpus = (definition?.containerDefinitions ?? [])
    .flatMap((each) => each.resourceRequirements ?? [])
    .filter(({ type }) => type === 'GPU');
  // A container that shares GPUs or requests `ALL` has no number; it needs at least one GPU.
  const ownGpus = gpus.reduce((sum, { value }) => sum + (Number(value) || 0), 0);
  const attributes = (definition?.requiresAttributes ?? []).flatMap(({ name, value }) =>
    name ? [{ name, value: value || null }] : [],
  );
  return {
    needs,
    requirements: { attributes, gpus: Math.max(ownGpus, gpus.length > 0 ? 1 : 0), ownGpus },
    needsSubnets: definition?.networkMode === 'awsvpc',
  };
}
