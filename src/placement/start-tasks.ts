import type { EcsApi, Started } from '../ecs/ecs-api.ts';
import { EcsError } from '../ecs/errors.ts';
import { RollcallError } from '../lib/errors.ts';

/** What StartTask takes at once: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StartTask.html */
const MAX_STARTED = 10;

/**
 * The calls that start one task for each of these: at most 10 instances a call, none twice in one, since a call starts
 * one task on each. In their order as far as that goes.
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
 * Starts one task for each of these instances, one StartTask after the other, each sent once. An instance that is
 * refused a task is not asked again.
 * @param onStarted called with each answer, before the next is asked for
 * @throws RollcallError at the first call that fails; what its tasks became is said in it. No later call is made
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
    // The tasks are alike: what was refused one is not asked for the next.
    const batch = each.filter((arn) => !refused.has(arn));
    if (batch.length === 0) continue;
    let answer: Started;
    try {
      answer = await api.startTask(cluster, taskDefinition, batch, signal);
    } catch (cause) {
      const unknown = surelyRefused(cause)
        ? ''
        : `, and whether the next ${batch.length} run is not known: look before you start again (aws ecs list-tasks --cluster ${cluster} --family ${family(taskDefinition)})`;
      throw new RollcallError(`start ${taskDefinition}: ${started} of ${arns.length} tasks started${unknown}`, {
        cause,
      });
    }
    started += answer.tasks.length;
    for (const { arn } of answer.failures) refused.add(arn);
    await onStarted(answer);
  }
}

/** ECS answered that it did not do it, or was not asked. A 5xx, a timeout and an interruption leave it open. */
function surelyRefused(error: unknown): boolean {
  if (!(error instanceof EcsError)) return false;
  return (
    /^(NoCredentials|BadCredentials|BadProfile)$|Exception$/.test(error.code) &&
    !/^(Server|Service|Internal)/.test(error.code)
  );
}

/** From `family`, `family:revision` or an ARN that ends in one of them. */
function family(taskDefinition: string): string {
  return taskDefinition.split('/').at(-1)?.split(':')[0] ?? taskDefinition;
}
