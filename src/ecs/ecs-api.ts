import type { Clock } from '../lib/clock.ts';

/** A container instance as the ECS API describes it; names follow DescribeContainerInstances. */
export interface ContainerInstance {
  readonly containerInstanceArn: string;
  /** The cluster's name. */
  readonly cluster: string;
  /** `i-…`, or `mi-…` for an external instance; null where ECS does not say. */
  readonly ec2InstanceId: string | null;
  /** ACTIVE, DRAINING, REGISTERING, DEREGISTERING, REGISTRATION_FAILED, or what a later ECS calls it. */
  readonly status: string;
  readonly agentConnected: boolean;
  /** RFC 3339. */
  readonly registeredAt: string | null;
  readonly agentVersion: string | null;
  readonly runningTasksCount: number;
  readonly pendingTasksCount: number;
  readonly registered: Resources;
  /** What tasks have not taken. */
  readonly remaining: Resources;
  /** In the host, taken or not. */
  readonly gpus: number;
  readonly attributes: readonly Attribute[];
}

export interface Resources {
  /** 1,024 are one vCPU. */
  readonly cpuUnits: number;
  readonly memoryMiB: number;
  /** Host ports that are taken: ECS lists under both resources those in use. */
  readonly ports: readonly number[];
  readonly portsUdp: readonly number[];
}

export interface Attribute {
  readonly name: string;
  readonly value: string | null;
}

/** What one task takes of a container instance. */
export interface TaskNeeds {
  readonly cpuUnits: number;
  readonly memoryMiB: number;
  /** Host ports, TCP. */
  readonly ports: readonly number[];
  readonly portsUdp: readonly number[];
}

/** What a task definition says of where its tasks can run. */
export interface DefinedTask {
  readonly needs: TaskNeeds;
  readonly requirements: TaskRequirements;
  /** The tasks have addresses of their own (`awsvpc`): whoever starts one has to name subnets. */
  readonly needsSubnets: boolean;
}

/** What an instance has, or has not, whatever runs on it. */
export interface TaskRequirements {
  /** With a value only where it has to be that one. */
  readonly attributes: readonly Attribute[];
  readonly gpus: number;
  /** Of these no two tasks have the same one; 0: none is asked for by number. */
  readonly ownGpus: number;
}

/**
 * What rollcall asks of the ECS API. Every call is one request (with the SDK's own retries), takes part in the request
 * budget, ends within its own deadline or with the reason of `signal`, and otherwise rejects with an `EcsError`.
 */
export interface EcsApi {
  /** Region and, where one is set, the endpoint; for people. */
  readonly label: string;

  /** Up to 100 clusters, by ARN. @param page null: the first */
  listClusters(page: string | null, signal: AbortSignal): Promise<Page>;

  /** Up to 100 container instances of a cluster, by ARN, of every status. @param cluster name or ARN */
  listContainerInstances(cluster: string, page: string | null, signal: AbortSignal): Promise<Page>;

  /** At most 100 ARNs. Each is in the answer, described or as a failure. */
  describeContainerInstances(cluster: string, arns: readonly string[], signal: AbortSignal): Promise<Described>;

  /** At most 10 ARNs. */
  updateContainerInstancesState(
    cluster: string,
    arns: readonly string[],
    status: 'ACTIVE' | 'DRAINING',
    signal: AbortSignal,
  ): Promise<Described>;

  /** At most 10 attributes; each replaces one of the same name. */
  putAttributes(cluster: string, arn: string, attributes: readonly Attribute[], signal: AbortSignal): Promise<void>;

  /** At most 10 names. One that is not there is no error. */
  deleteAttributes(cluster: string, arn: string, names: readonly string[], signal: AbortSignal): Promise<void>;

  /** @param taskDefinition `family`, `family:revision` or ARN */
  describeTaskDefinition(taskDefinition: string, signal: AbortSignal): Promise<DefinedTask>;

  /** At most 10 ARNs; one task on each. Never sent a second time by itself: it might start tasks twice. */
  startTask(cluster: string, taskDefinition: string, arns: readonly string[], signal: AbortSignal): Promise<Started>;

  /** Frees connections. */
  close(): void;
}

export interface Page {
  readonly arns: readonly string[];
  /** Give it in for the next page; null on the last. */
  readonly next: string | null;
}

export interface Described {
  readonly instances: readonly ContainerInstance[];
  readonly failures: readonly Failure[];
}

export interface Started {
  readonly tasks: readonly { readonly taskArn: string; readonly containerInstanceArn: string }[];
  readonly failures: readonly Failure[];
}

/** ECS refused one of several, with HTTP status 200. */
export interface Failure {
  readonly arn: string;
  /** `MISSING`, `INACTIVE`, `RESOURCE:MEMORY`, …: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html */
  readonly reason: string;
}

/**
 * One container instance in the names and shapes of DescribeContainerInstances, with its cluster's name beside them:
 * https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerInstance.html
 */
export function containerInstanceJson(instance: ContainerInstance): object {
  const { agentVersion, registered, remaining, gpus: _, ...same } = instance;
  return {
    ...same,
    versionInfo: { agentVersion },
    registeredResources: resourcesJson(registered),
    remainingResources: resourcesJson(remaining),
  };
}

function resourcesJson({ cpuUnits, memoryMiB, ports, portsUdp }: Resources): readonly object[] {
  return [
    { name: 'CPU', type: 'INTEGER', integerValue: cpuUnits },
    { name: 'MEMORY', type: 'INTEGER', integerValue: memoryMiB },
    { name: 'PORTS', type: 'STRINGSET', stringSetValue: ports.map(String) },
    { name: 'PORTS_UDP', type: 'STRINGSET', stringSetValue: portsUdp.map(String) },
  ];
}

/** How to reach the ECS API. What is null is found as by any AWS tool: environment, profile, instance role. */
export interface EcsSettings {
  readonly region: string | null;
  readonly profile: string | null;
  /** At most so many requests a second, the SDK's own retries included. Default: as fast as ECS lets us. */
  readonly requestsPerSecond?: number;
}

export interface EcsDeps {
  readonly clock: Clock;
  /** Of the process: what AWS's tools read from it. The SDK reads the rest from there by itself. */
  readonly env: Readonly<Record<string, string | undefined>>;
}
