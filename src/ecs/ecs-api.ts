import type { Clock } from '../lib/clock.ts';

/** A container instance in the ECS API; names follow DescribeContainerInstances. */
export interface ContainerInstance {
  readonly containerInstanceArn: string;
  /** The cluster's name. */
  readonly cluster: string;
  /** `i-…`, or `mi-…` for an external instance; null if ECS does not send it. */
  readonly ec2InstanceId: string | null;
  /** ACTIVE, DRAINING, REGISTERING, DEREGISTERING, REGISTRATION_FAILED, or a newer status. */
  readonly status: string;
  readonly agentConnected: boolean;
  /** RFC 3339. */
  readonly registeredAt: string | null;
  readonly agentVersion: string | null;
  readonly runningTasksCount: number;
  readonly pendingTasksCount: number;
  readonly registered: Resources;
  /** Not used by tasks. */
  readonly remaining: Resources;
  /** All GPUs of the host, used or not. */
  readonly gpus: number;
  readonly attributes: readonly Attribute[];
  /** The whole description, in ECS’s names and with `cluster`; null without `EcsSettings.keepWhole`. */
  readonly described: object | null;
}

export interface Resources {
  /** 1,024 units are one vCPU. */
  readonly cpuUnits: number;
  readonly memoryMiB: number;
  /** Host ports in use. ECS lists the ports in use under the registered and under the remaining resources. */
  readonly ports: readonly number[];
  readonly portsUdp: readonly number[];
}

export interface Attribute {
  readonly name: string;
  readonly value: string | null;
}

/** The resources that one task needs. */
export interface TaskNeeds {
  readonly cpuUnits: number;
  readonly memoryMiB: number;
  /** TCP host ports. */
  readonly ports: readonly number[];
  readonly portsUdp: readonly number[];
}

/** What a task definition requires of a container instance. */
export interface DefinedTask {
  readonly needs: TaskNeeds;
  readonly requirements: TaskRequirements;
  /** True for network mode `awsvpc`: each task has its own address, and a start must name subnets. */
  readonly needsSubnets: boolean;
}

/** Requirements that do not depend on what runs on the instance. */
export interface TaskRequirements {
  /** An attribute with a value must have that value; one without may have any. */
  readonly attributes: readonly Attribute[];
  readonly gpus: number;
  /** GPUs that the task needs for itself alone; 0 if it requests no number of GPUs. */
  readonly ownGpus: number;
}

/**
 * The calls of the ECS API that rollcall uses. Each call is one request (plus the SDK's retries), counts against
 * `requestsPerSecond` and ends within its own deadline. It rejects with an `EcsError`, or with the reason of `signal`.
 */
export interface EcsApi {
  /** Region and endpoint, for messages. */
  readonly label: string;

  /** By how much this machine's clock is ahead of ECS's, by its newest answer; null: none had a `Date`. Default: null. */
  clockSkewMs?(): number | null;

  /** ARNs of up to 100 clusters. @param page null: the first */
  listClusters(page: string | null, signal: AbortSignal): Promise<Page>;

  /**
   * ARNs of up to 100 container instances of a cluster, in any status. @param cluster name or ARN
   * @param filter in ECS's cluster query language; an endpoint that does not know it may answer with all
   */
  listContainerInstances(cluster: string, page: string | null, signal: AbortSignal, filter?: string): Promise<Page>;

  /** At most 100 ARNs. The result has an instance or a failure for each, by the ARN as it is given here. */
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

  /** At most 10 names. A name that does not exist is not an error. */
  deleteAttributes(cluster: string, arn: string, names: readonly string[], signal: AbortSignal): Promise<void>;

  /** @param taskDefinition `family`, `family:revision` or ARN */
  describeTaskDefinition(taskDefinition: string, signal: AbortSignal): Promise<DefinedTask>;

  /** Starts one task on each of at most 10 ARNs. Never retried, because a retry might start tasks twice. */
  startTask(cluster: string, taskDefinition: string, arns: readonly string[], signal: AbortSignal): Promise<Started>;

  /** Closes the connections. */
  close(): void;
}

export interface Page {
  readonly arns: readonly string[];
  /** The `page` parameter for the next page; null on the last page. */
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

/** ECS refused one item of a request that succeeded (HTTP status 200). */
export interface Failure {
  readonly arn: string;
  /** `MISSING`, `INACTIVE`, `RESOURCE:MEMORY`, …: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html */
  readonly reason: string;
}

/** How to reach the ECS API. A null value is found as in other AWS tools: environment, profile, instance role. */
export interface EcsSettings {
  readonly region: string | null;
  readonly profile: string | null;
  /** Maximum requests per second, including the SDK's retries. Default: no limit. */
  readonly requestsPerSecond?: number;
  /** Keep each description whole, for a caller that prints it: about 10 kB for each container instance. */
  readonly keepWhole?: boolean;
}

export interface EcsDeps {
  readonly clock: Clock;
  /** Of the process: what AWS's tools read from it. The SDK reads the rest from there by itself. */
  readonly env: Readonly<Record<string, string | undefined>>;
}
