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
