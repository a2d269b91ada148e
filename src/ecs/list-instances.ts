import { clusterName, clusterScope, isContainerInstanceArn, mayShareScope } from './arn.ts';
import type { ContainerInstance, Described, EcsApi, Failure, Page } from './ecs-api.ts';
import { EcsError } from './ecs-errors.ts';

/** Pages of 100: more than one region has instances. The limit stops an endpoint whose list never ends. */
const MAX_PAGES = 1_000;

/** Reads all pages of a list; each ARN once. @throws EcsError after `MAX_PAGES` */
async function allPages(action: string, read: (page: string | null) => Promise<Page>): Promise<readonly string[]> {
  const arns = new Set<string>();
  let next: string | null = null;
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const page: Page = await read(next);
    for (const arn of page.arns) arns.add(arn);
    if (page.next === null) return [...arns];
    next = page.next;
  }
  throw new EcsError(`${action}: more than ${MAX_PAGES} pages; check AWS_ENDPOINT_URL_ECS`, {
    code: 'NoEnd',
    retryable: false,
  });
}

/** Limit of DescribeContainerInstances: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeContainerInstances.html */
const MAX_DESCRIBED = 100;
/** Reasons by which ECS says that the container instance does not exist. */
const GONE = ['MISSING', 'INACTIVE'];

/** Called for a failure with a reason that is not known; the container instance counts as missing. */
export type OnUnexpected = (failure: Failure) => void;

export function unexpectedFailure({ arn, reason }: Failure): string {
  return `ECS does not describe ${arn}: ${reason}; it counts as missing`;
}

const MAX_NAMED = 100;

/** Says each such failure once, however often it is read, and at most so many in the life of the process. */
export function sayUnexpected(say: (line: string) => void): OnUnexpected {
  const said = new Set<string>();
  return (failure) => {
    const line = unexpectedFailure(failure);
    if (said.has(line) || said.size > MAX_NAMED) return;
    said.add(line);
    say(said.size > MAX_NAMED ? 'ECS does not describe more container instances, which are not named' : line);
  };
}

/**
 * Describes those of the given container instances that exist, 100 per request.
 * @throws EcsError also if ECS does not answer for one of them: without it the cluster would look smaller than it is
 */
export async function describeInstances(
  api: EcsApi,
  cluster: string,
  arns: readonly string[],
  signal: AbortSignal,
  onUnexpected: OnUnexpected = () => {},
): Promise<readonly ContainerInstance[]> {
  const found: ContainerInstance[] = [];
  for (let from = 0; from < arns.length; from += MAX_DESCRIBED) {
    const asked = arns.slice(from, from + MAX_DESCRIBED);
    const { instances, failures } = await api.describeContainerInstances(cluster, asked, signal);
    const refused = failures.filter(({ reason }) => reason !== 'UNANSWERED').map(({ arn }) => arn);
    const answered = new Set([...instances.map((each) => each.containerInstanceArn), ...refused]);
    const unanswered = asked.find((arn) => !answered.has(arn));
    if (unanswered !== undefined) {
      throw new EcsError(`describe ${unanswered}: no answer`, { code: 'PartialAnswer', retryable: true });
    }
    for (const failure of failures) if (!GONE.includes(failure.reason)) onUnexpected(failure);
    found.push(...instances);
  }
  return found;
}

/**
 * The status of a node's container instance, such as ACTIVE; MISSING: ECS does not know it; `under i-…`: ECS has it as that
 * of another node, as after a copy of the disk with ecs-agent's data.
 */
export function statusInEcs({ instances, failures }: Described, arn: string, instanceId: string): string {
  const instance = instances.find((each) => each.containerInstanceArn === arn);
  if (!instance) return failures[0]?.reason ?? 'MISSING';
  const { ec2InstanceId } = instance;
  return ec2InstanceId === null || ec2InstanceId === instanceId ? instance.status : `under ${ec2InstanceId}`;
}

/** Why a node with this status cannot be drained, and what to do about it. */
export function whyNotActive(status: string): string {
  return status.startsWith('under ')
    ? `ECS has its container instance ${status}, as after a copy of the disk: remove ecs-agent’s data on this host and restart ecs-agent`
    : `ECS has it ${status}: only an ACTIVE node can be drained`;
}

/** The ARNs of all clusters in the region. */
export function listClusters(api: EcsApi, signal: AbortSignal): Promise<readonly string[]> {
  return allPages('list the clusters', (page) => api.listClusters(page, signal));
}

interface Enumeration {
  /** The clusters that were read. */
  readonly clusters: readonly string[];
  readonly instances: readonly ContainerInstance[];
}

/**
 * All container instances of the given clusters, in ECS's order. An instance that is deleted between its page and its
 * description is omitted. @throws EcsError also if ECS does not answer for one instance
 * @param clusters names or ARNs; null: all clusters of the region, without those that are deleted in the meantime
 */
export async function enumerateInstances(
  api: EcsApi,
  clusters: readonly string[] | null,
  signal: AbortSignal,
  onUnexpected?: OnUnexpected,
): Promise<Enumeration> {
  const asked = clusters ?? (await listClusters(api, signal));
  const names: string[] = [];
  const instances: ContainerInstance[] = [];
  for (const cluster of asked) {
    const list = (page: string | null) => api.listContainerInstances(cluster, page, signal);
    const action = `list the container instances of ${cluster}`;
    const arns = await allPages(action, list).catch((error: unknown) => {
      // ECS has just listed this cluster, so it was deleted since or is INACTIVE. Read the others.
      if (clusters === null && isAbsentCluster(error)) return null;
      throw error;
    });
    if (arns === null) continue;
    names.push(cluster.split('/').at(-1) ?? cluster);
    instances.push(...(await describeInstances(api, cluster, arns, signal, onUnexpected)));
  }
  return { clusters: names, instances };
}

/** In the cluster query language: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-query-language.html */
const DISCONNECTED = 'agentConnected == false';

/**
 * The container instances of these clusters whose ecs-agent ECS has disconnected: one request for each cluster and page
 * where there is none. A cluster that ECS does not have is left out.
 * @param clusters names or ARNs @param known ARNs of those that were disconnected before
 * @returns `clusters`: those that were read; `gone`: of the known, those that are no longer in service
 * @throws EcsError also if ECS has none of the clusters
 */
export async function disconnectedInstances(
  api: EcsApi,
  clusters: readonly string[],
  known: readonly string[],
  signal: AbortSignal,
  onUnexpected?: OnUnexpected,
): Promise<Enumeration & { readonly gone: readonly string[] }> {
  const read: string[] = [];
  const found: ContainerInstance[] = [];
  const before: string[] = [];
  let absent: EcsError | null = null;
  for (const cluster of clusters) {
    const list = (page: string | null) => api.listContainerInstances(cluster, page, signal, DISCONNECTED);
    try {
      const arns = await allPages(`list the disconnected container instances of ${cluster}`, list);
      // One that is no longer listed is connected again, or deregistered.
      const here = known.filter((arn) => isOfCluster(arn, cluster));
      const described = await describeInstances(api, cluster, [...new Set([...arns, ...here])], signal, onUnexpected);
      found.push(...described);
      before.push(...here);
      read.push(cluster);
    } catch (error) {
      // Deleted since the clusters were listed: that must not hide the others.
      if (!isAbsentCluster(error)) throw error;
      absent = error;
    }
  }
  if (read.length === 0 && absent) throw absent;
  // One that is being registered or deregistered has no connection to lose.
  const serving = found.filter(({ status }) => status === 'ACTIVE' || status === 'DRAINING');
  const there = new Set(serving.map(({ containerInstanceArn }) => containerInstanceArn));
  return {
    clusters: read,
    instances: serving.filter(({ agentConnected }) => !agentConnected),
    gone: before.filter((arn) => !there.has(arn)),
  };
}

/**
 * Of an ARN in the older form, which does not name its cluster, it is not known. One invalid ARN would make ECS refuse the
 * whole request. @param cluster name or ARN
 */
function isOfCluster(arn: string, cluster: string): boolean {
  const [, name, id] = arn.split('/');
  if (id === undefined || !isContainerInstanceArn(arn)) return false;
  return name === clusterName(cluster) && mayShareScope(clusterScope(arn), clusterScope(cluster));
}

/** True if ECS refused a request because it does not have the cluster. */
export function isAbsentCluster(error: unknown): error is EcsError {
  return error instanceof EcsError && error.code === 'ClusterNotFoundException';
}
