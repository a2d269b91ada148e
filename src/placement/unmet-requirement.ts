import type { ContainerInstance } from '../ecs/container-instance.ts';
import type { TaskRequirements } from '../ecs/defined-task.ts';

/**
 * What an instance lacks for the tasks of a definition, whatever runs on it; null: nothing. ECS refuses a task for it
 * (ATTRIBUTE, RESOURCE:GPU): https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
 */
export function unmetRequirement(
  { attributes, gpus }: TaskRequirements,
  instance: Pick<ContainerInstance, 'attributes' | 'gpus'>,
): string | null {
  for (const { name, value } of attributes) {
    const found = instance.attributes.filter((each) => each.name === name);
    if (found.some((each) => value === null || each.value === value)) continue;
    return `without the attribute ${name}${value === null ? '' : `=${value}`} that the task definition requires`;
  }
  if (gpus <= instance.gpus) return null;
  return `GPUs: the task definition needs ${gpus}, the instance has ${instance.gpus}`;
}
