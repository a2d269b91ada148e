import type { ContainerInstance, EcsApi, Page } from './ecs-api.ts';
import { EcsError } from './errors.ts';

/** Of 100 each: more than a region has instances. Only an endpoint that never ends its list has more. */
const MAX_PAGES = 1_000;

/** Every ARN of a list that ECS hands out in pages, once. @throws EcsError for one that never ends */
export async function allPages(
  action: string,
  read: (page: string | null) => Promise<Page>,
): Promise<readonly string[]> {
  const arns = new Set<string>();
  let next: string | null = null;
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const page: Page = await read(next);
    for (const arn of page.arns) arns.add(arn);
    if (page.next === null) return [...arns];
    next = page.next;
  }
  throw new EcsError(`${action}: more than ${MAX_PAGES} pages`, { code: 'NoEnd', retryable: false });
}

/** What DescribeContainerInstances takes at once: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeContainerInstances.html */
const MAX_DESCRIBED = 100;
/** Answers that say that there is no such container instance; any other says that ECS could not tell. */
const GONE = ['MISSING', 'INACTIVE'];

/**
 * Those of these container instances that there are, asked for 100 at a time. Each is described or said to be gone.
 * @throws EcsError also where ECS could not tell of one: without it the answer would be that of a smaller cluster
 */
export async function describeInstances(
  api: EcsApi,
  cluster: string,
  arns: readonly string[],
  signal: AbortSignal,
): Promise<readonly ContainerInstance[]> {
  const found: ContainerInstance[] = [];
  for (let from = 0; from < arns.length; from += MAX_DESCRIBED) {
    const asked = arns.slice(from, from + MAX_DESCRIBED);
    const { instances, failures } = await api.describeContainerInstances(cluster, asked, signal);
    const gone = failures.filter(({ reason }) => GONE.includes(reason)).map(({ arn }) => arn);
    const answered = new Set([...instances.map(({ containerInstanceArn }) => containerInstanceArn), ...gone]);
    const unanswered = asked.find((arn) => !answered.has(arn));
    if (unanswered !== undefined) {
      const reason = failures.find(({ arn }) => arn === unanswered)?.reason ?? 'no answer';
      throw new EcsError(`describe ${unanswered}: ${reason}`, { code: 'PartialAnswer', retryable: true });
    }
    found.push(...instances);
  }
  return found;
}

/** The ARNs of every cluster of the region. */
export function listClusters(api: EcsApi, signal: AbortSignal): Promise<readonly string[]> {
  return allPages('list the clusters', (page) => api.listClusters(page, signal));
}

export interface Enumeration {
  /** Names. */
  readonly clusters: readonly string[];
  readonly instances: readonly ContainerInstance[];
}

/**
 * All container instances of these clusters, in ECS's order: pages of 100, each described at once.
 * One that is gone between its page and its description is left out, as ECS will leave it out from then on; one that
 * ECS could not tell of fails the whole.
 * @param clusters names or ARNs; null: every cluster of the region, less those that are gone when their turn comes
 */
export async function enumerateInstances(
  api: EcsApi,
  clusters: readonly string[] | null,
  signal: AbortSignal,
): Promise<Enumeration> {
  const asked = clusters ?? (await listClusters(api, signal));
  const names: string[] = [];
  const instances: ContainerInstance[] = [];
  for (const cluster of asked) {
    const list = (page: string | null) => api.listContainerInstances(cluster, page, signal);
    const action = `list the container instances of ${cluster}`;
    const arns = await allPages(action, list).catch((error: unknown) => {
      // ECS itself has just named it: it was deleted since, or is INACTIVE, and must not fail all the others.
      if (clusters === null && error instanceof EcsError && error.code === 'ClusterNotFoundException') return null;
      throw error;
    });
    if (arns === null) continue;
    names.push(cluster.split('/').at(-1) ?? cluster);
    instances.push(...(await describeInstances(api, cluster, arns, signal)));
  }
  return { clusters: names, instances };
}
