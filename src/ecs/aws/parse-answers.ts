import type { Resource, ContainerInstance as SdkInstance, TaskDefinition } from '@aws-sdk/client-ecs';
import { clusterName } from '../../sources/ecs-arn.ts';
import type { ContainerInstance, Resources } from '../container-instance.ts';
import type { Described, Failure, Page, Started } from '../ecs-api.ts';
import type { TaskNeeds } from '../task-needs.ts';

type SdkFailure = { readonly arn?: string | undefined; readonly reason?: string | undefined };

export function parsePage(arns: readonly string[] | undefined, next: string | undefined): Page {
  return { arns: arns ?? [], next: next || null };
}

/** @param cluster as asked for: an answer about an instance does not name it */
export function parseDescribed(
  cluster: string,
  answer: { readonly containerInstances?: SdkInstance[] | undefined; readonly failures?: SdkFailure[] | undefined },
): Described {
  const name = clusterName(cluster) ?? cluster;
  return {
    instances: (answer.containerInstances ?? []).map((instance) => parseInstance(name, instance)),
    failures: parseFailures(answer.failures),
  };
}

export function parseStarted(answer: {
  readonly tasks?: { taskArn?: string | undefined; containerInstanceArn?: string | undefined }[] | undefined;
  readonly failures?: SdkFailure[] | undefined;
}): Started {
  return {
    tasks: (answer.tasks ?? []).map(({ taskArn = '', containerInstanceArn = '' }) => ({
      taskArn,
      containerInstanceArn,
    })),
    failures: parseFailures(answer.failures),
  };
}

/** A task's own size bounds its containers; without one, theirs add up, each with its reservation where it has one. */
export function parseTaskNeeds(definition: TaskDefinition | undefined): TaskNeeds {
  const containers = definition?.containerDefinitions ?? [];
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const ownPorts = definition?.networkMode === 'awsvpc' || definition?.networkMode === 'none';
  const mappings = ownPorts ? [] : containers.flatMap((container) => container.portMappings ?? []);
  const hostPorts = (protocol: string) =>
    mappings
      .filter((mapping) => (mapping.protocol ?? 'tcp') === protocol)
      // Without a host port docker takes a free one; a host network has no mapping of its own.
      .map((mapping) => (definition?.networkMode === 'host' ? mapping.containerPort : mapping.hostPort) ?? 0)
      .filter((port) => port !== 0);
  return {
    cpuUnits: Number(definition?.cpu ?? Number.NaN) || sum(containers.map(({ cpu }) => cpu ?? 0)),
    memoryMiB:
      Number(definition?.memory ?? Number.NaN) ||
      sum(containers.map(({ memory, memoryReservation }) => memoryReservation ?? memory ?? 0)),
    ports: hostPorts('tcp'),
    portsUdp: hostPorts('udp'),
  };
}

function parseInstance(cluster: string, instance: SdkInstance): ContainerInstance {
  return {
    containerInstanceArn: instance.containerInstanceArn ?? '',
    cluster,
    ec2InstanceId: instance.ec2InstanceId || null,
    status: instance.status ?? '',
    agentConnected: instance.agentConnected ?? false,
    registeredAt: instance.registeredAt?.toISOString() ?? null,
    agentVersion: instance.versionInfo?.agentVersion ?? null,
    runningTasksCount: instance.runningTasksCount ?? 0,
    pendingTasksCount: instance.pendingTasksCount ?? 0,
    registered: parseResources(instance.registeredResources),
    remaining: parseResources(instance.remainingResources),
    attributes: (instance.attributes ?? []).map(({ name = '', value }) => ({ name, value: value ?? null })),
  };
}

function parseResources(resources: readonly Resource[] | undefined): Resources {
  const named = new Map((resources ?? []).map((resource) => [resource.name, resource]));
  const ports = (name: string) =>
    (named.get(name)?.stringSetValue ?? []).map(Number).filter((port) => Number.isInteger(port));
  return {
    cpuUnits: named.get('CPU')?.integerValue ?? 0,
    memoryMiB: named.get('MEMORY')?.integerValue ?? 0,
    ports: ports('PORTS'),
    portsUdp: ports('PORTS_UDP'),
  };
}

function parseFailures(failures: readonly SdkFailure[] | undefined): readonly Failure[] {
  return (failures ?? []).map(({ arn = '', reason = 'unknown' }) => ({ arn, reason }));
}
