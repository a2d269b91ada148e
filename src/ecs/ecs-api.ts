import type { Attribute, ContainerInstance } from './container-instance.ts';
import type { DefinedTask } from './defined-task.ts';

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
