const ARN_PREFIX = 'arn:aws(?:-[a-z]+)*:ecs:[a-z0-9-]+:\\d{12}';
const NAME = '[A-Za-z0-9_-]{1,255}';
const CLUSTER_NAME = new RegExp(`^${NAME}$`);
const CLUSTER_ARN = new RegExp(`^${ARN_PREFIX}:cluster/(${NAME})$`);

/** The name of an ECS cluster from its name or its ARN; undefined for any other text. Records have the name. */
export function clusterName(text: string): string | undefined {
  return CLUSTER_NAME.test(text) ? text : CLUSTER_ARN.exec(text)?.[1];
}
