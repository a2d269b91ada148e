import type { NodeRecord } from '../record/record.ts';

/** Partition, service, region and account of an ARN: `arn:aws:ecs:us-east-1:123456789012`. */
export function arnScope(arn: string): string {
  return arn.split(':').slice(0, 5).join(':');
}

/**
 * The cluster a node says it is in; null where it does not say. The newer form of ARN names it, and ECS refuses a whole
 * request in which one ARN names another cluster than the request does.
 */
export function clusterOf({ containerInstanceArn, cluster }: Pick<NodeRecord, 'containerInstanceArn' | 'cluster'>) {
  const parts = containerInstanceArn?.split('/') ?? [];
  return parts.length === 3 ? (parts[1] ?? null) : cluster;
}
