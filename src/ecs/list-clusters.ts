import { allPages } from './all-pages.ts';
import type { EcsApi } from './ecs-api.ts';

/** The ARNs of every cluster of the region. */
export function listClusters(api: EcsApi, signal: AbortSignal): Promise<readonly string[]> {
  return allPages('list the clusters', (page) => api.listClusters(page, signal));
}
