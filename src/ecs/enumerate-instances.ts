import type { ContainerInstance } from './container-instance.ts';
import { describeInstances } from './describe-instances.ts';
import type { EcsApi, Page } from './ecs-api.ts';
import { EcsError } from './ecs-error.ts';

export interface Enumeration {
  /** Names. */
  readonly clusters: readonly string[];
  readonly instances: readonly ContainerInstance[];
}

/** Of 100 each: more than a region has instances. Only an endpoint that never ends its list has more. */
const MAX_PAGES = 1_000;

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
  const asked = clusters ?? (await allPages('list the clusters', (page) => api.listClusters(page, signal)));
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

async function allPages(action: string, read: (page: string | null) => Promise<Page>): Promise<readonly string[]> {
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
