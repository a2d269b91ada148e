import { allPages } from './all-pages.ts';
import type { ContainerInstance } from './container-instance.ts';
import { describeInstances } from './describe-instances.ts';
import type { EcsApi } from './ecs-api.ts';
import { EcsError } from './ecs-error.ts';
import { listClusters } from './list-clusters.ts';

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
