import type { NodeRecord } from '../record/record.ts';

/** Partitions are aws, aws-cn, aws-us-gov, aws-iso and more to come; the account has 12 digits. */
const PREFIX = 'arn:aws(?:-[a-z]+)*:ecs:[a-z0-9-]+:\\d{12}';
const NAME = '[A-Za-z0-9_-]{1,255}';
const ID = '[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';

const CONTAINER_INSTANCE = new RegExp(`^${PREFIX}:container-instance/(?:${NAME}/)?(?:${ID})$`);
const CLUSTER = new RegExp(`^${PREFIX}:cluster/(${NAME})$`);
const CLUSTER_NAME = new RegExp(`^${NAME}$`);

/** Both forms: with the cluster's name, and the older one without: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-account-settings.html#ecs-resource-ids */
export function isContainerInstanceArn(text: string): boolean {
  return CONTAINER_INSTANCE.test(text);
}

/** The cluster's name, given its name or its ARN; undefined when it is neither. */
export function clusterName(text: string): string | undefined {
  return CLUSTER_NAME.test(text) ? text : CLUSTER.exec(text)?.[1];
}

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

/**
 * Region and account of a container instance's ARN, `arn:aws:ecs:us-east-1:123456789012`: one store may hold several of
 * either, and clusters are named alike in them. null where the text says neither.
 */
export function clusterScope(arn: string | null | undefined): string | null {
  return /^arn:[^:]*:ecs:[^:]+:[^:]+(?=:)/.exec(arn ?? '')?.[0] ?? null;
}

/** Two that may be of one cluster of that name: in doubt they are. */
export function mayShareScope(one: string | null, other: string | null): boolean {
  return one === null || other === null || one === other;
}
