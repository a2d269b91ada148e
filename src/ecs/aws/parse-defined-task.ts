import type { ResourceRequirement, TaskDefinition } from '@aws-sdk/client-ecs';
import type { DefinedTask } from '../defined-task.ts';
import { parseTaskNeeds } from './parse-answers.ts';

/** @throws AnswerError where the answer has no definition */
export function parseDefinedTask(definition: TaskDefinition | undefined): DefinedTask {
  const needs = parseTaskNeeds(definition);
  const resources = (definition?.containerDefinitions ?? []).flatMap((each) => each.resourceRequirements ?? []);
  const attributes = (definition?.requiresAttributes ?? []).flatMap(({ name, value }) =>
    name ? [{ name, value: value || null }] : [],
  );
  return {
    needs,
    requirements: { attributes, gpus: gpus(resources.filter(({ type }) => type === 'GPU')) },
    needsSubnets: definition?.networkMode === 'awsvpc',
  };
}

/** Containers that share a GPU, or take `ALL`, name no number: they want one. */
function gpus(wanted: readonly ResourceRequirement[]): number {
  const numbered = wanted.reduce((sum, { value }) => sum + (Number(value) || 0), 0);
  return Math.max(numbered, wanted.length > 0 ? 1 : 0);
}
