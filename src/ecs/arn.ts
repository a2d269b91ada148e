import type { NodeRecord } from '../record/record.ts';

export { clusterName } from '../record/cluster-name.ts';

/** Partitions: aws, aws-cn, aws-us-gov, aws-iso and others; the account has 12 digits. */
const PREFIX = 'arn:aws(?:-[a-z]+)*:ecs:[a-z0-9-]+:\\d{12}';
const NAME = '[A-Za-z0-9_-]{1,255}';
const ID = '[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';

const CONTAINER_INSTANCE = new RegExp(`^${PREFIX}:container-instance/(?:${NAME}/)?(?:${ID})$`);

/** Accepts both forms, with the cluster's name and the older one without it: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-account-settings.html#ecs-resource-ids */
export function isContainerInstanceArn(text: string): boolean {
  return CONTAINER_INSTANCE.test(text);
}

/** Partition, service, region and account of an ARN: `arn:aws:ecs:us-east-1:123456789012`. */
export function arnScope(arn: string): string {
  return arn.split(':').slice(0, 5).join(':');
}

/**
 * The cluster in a node's record; null if unknown. The cluster in the ARN takes precedence, because ECS refuses a whole
 * request if one ARN in it names another cluster than the request.
 */
export function clusterOf({ containerInstanceArn, cluster }: Pick<NodeRecord, 'containerInstanceArn' | 'cluster'>) {
  const parts = containerInstanceArn?.split('/') ?? [];
  return parts.length === 3 ? (parts[1] ?? null) : cluster;
}

/**
 * Region and account of a container instance's ARN, such as `arn:aws:ecs:us-east-1:123456789012`; null if the text has
 * neither. One store may hold several regions and accounts, with clusters of the same name.
 */
export function clusterScope(arn: string | null | undefined): string | null {
  return /^arn:[^:]*:ecs:[^:]+:[^:]+(?=:)/.exec(arn ?? '')?.[0] ?? null;
}

/** True if both scopes are equal or one is unknown, so that both may belong to the same cluster. */
export function mayShareScope(one: string | null, other: string | null): boolean {
  return one === null || other === null || one === other;
}

/** The id of a container instance: what is behind the last slash of its ARN, old (without the cluster part) or new. */
export function shortId(arn: string): string {
  return arn.slice(arn.lastIndexOf('/') + 1);
}
