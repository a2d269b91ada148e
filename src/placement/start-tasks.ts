import type { EcsApi, Started } from '../ecs/ecs-api.ts';
import { EcsError } from '../ecs/ecs-errors.ts';
import { RollcallError } from '../lib/errors.ts';

/** Limit of StartTask: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StartTask.html */
const MAX_STARTED = 10;

/**
 * Splits the ARNs into calls of at most 10 instances. An ARN occurs once per call, because a call starts one task on each
 * instance. The order is kept as far as possible.
 */
export function startBatches(arns: readonly string[]): readonly (readonly string[])[] {
  const batches: Set<string>[] = [];
  for (const arn of arns) {
    const open = batches.find((batch) => batch.size < MAX_STARTED && !batch.has(arn));
    if (open) open.add(arn);
    else batches.push(new Set([arn]));
  }
  return batches.map((batch) => [...batch]);
}

/**
 * Starts one task for each ARN, in consecutive StartTask calls, each sent once. After ECS refuses a task on an instance,
 * no further task is started there.
 * @param onStarted called with each answer, before the next call
 * @throws RollcallError at the first failed call; it says whether its tasks may run. No further call is made
 */
export async function startTasks(
  api: EcsApi,
  cluster: string,
  taskDefinition: string,
  arns: readonly string[],
  onStarted: (started: Started) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let started = 0;
  const refused = new Set<string>();
  for (const each of startBatches(arns)) {
    // The tasks are equal, so an instance that refused one would refuse the next.
    const batch = each.filter((arn) => !refused.has(arn));
    if (batch.length === 0) continue;
    let answer: Started;
    try {
      answer = await api.startTask(cluster, taskDefinition, batch, signal);
    } catch (cause) {
      const unknown = isCertainlyRefused(cause)
        ? ''
        : `, and the next ${batch.length} may have started; check before you start them again (aws ecs list-tasks --cluster ${cluster} --family ${family(taskDefinition)})`;
      throw new RollcallError(`start ${taskDefinition}: ${started} of ${arns.length} tasks started${unknown}`, {
        cause,
      });
    }
    started += answer.tasks.length;
    for (const { arn } of answer.failures) refused.add(arn);
    await onStarted(answer);
  }
}

/** True if no task of the call can have started: ECS refused the call, or it was not sent. False for a 5xx or a timeout. */
function isCertainlyRefused(error: unknown): boolean {
  if (!(error instanceof EcsError)) return false;
  return (
    /^(NoCredentials|BadCredentials|BadProfile)$|Exception$/.test(error.code) &&
    !/^(Server|Service|Internal)/.test(error.code)
  );
}

/** The family in `family`, `family:revision` or a task definition ARN. */
function family(taskDefinition: string): string {
  return taskDefinition.split('/').at(-1)?.split(':')[0] ?? taskDefinition;
}
