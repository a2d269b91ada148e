import type { TaskDefinition } from '@aws-sdk/client-ecs';
import type { DefinedTask } from '../defined-task.ts';
import { parseTaskNeeds } from './parse-answers.ts';

/** @throws AnswerError where the answer has no definition */
export function parseDefinedTask(definition: TaskDefinition | undefined): DefinedTask {
  const needs = parseTaskNeeds(definition);
  const gpus = (definition?.containerDefinitions ?? [])
    .flatMap((each) => each.resourceRequirements ?? [])
    .filter(({ type }) => type === 'GPU');
  // Containers that share a GPU, or take `ALL`, name no number: they want one.
  const ownGpus = gpus.reduce((sum, { value }) => sum + (Number(value) || 0), 0);
  const attributes = (definition?.requiresAttributes ?? []).flatMap(({ name, value }) =>
    name ? [{ name, value: value || null }] : [],
  );
  return {
    needs,
    requirements: { attributes, gpus: Math.max(ownGpus, gpus.length > 0 ? 1 : 0), ownGpus },
    needsSubnets: definition?.networkMode === 'awsvpc',
  };
}
