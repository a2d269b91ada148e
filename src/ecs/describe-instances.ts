import type { ContainerInstance } from './container-instance.ts';
import type { EcsApi } from './ecs-api.ts';
import { EcsError } from './ecs-error.ts';

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
