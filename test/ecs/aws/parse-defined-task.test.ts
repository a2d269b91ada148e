import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ResourceRequirement, TaskDefinition } from '@aws-sdk/client-ecs';
import { parseDefinedTask } from '../../../src/ecs/aws/parse.ts';

const parse = (definition: TaskDefinition) => parseDefinedTask({ containerDefinitions: [], ...definition });

test('attributes, with a value only where one is named', () => {
  const requiresAttributes = [{ name: 'a' }, { name: 'b', value: 'c' }, { name: 'd', value: '' }, { name: undefined }];
  assert.deepEqual(parse({ requiresAttributes }).requirements.attributes, [
    { name: 'a', value: null },
    { name: 'b', value: 'c' },
    { name: 'd', value: null },
  ]);
  assert.deepEqual(parse({}).requirements, { attributes: [], gpus: 0, ownGpus: 0 });
});

test('GPUs add up; who shares one or takes all wants one; other accelerators are none', () => {
  const gpus = (...containers: ResourceRequirement[][]) => {
    const containerDefinitions = containers.map((resourceRequirements) => ({ resourceRequirements }));
    const { gpus, ownGpus } = parse({ containerDefinitions }).requirements;
    return [gpus, ownGpus];
  };
  assert.deepEqual(gpus([{ type: 'GPU', value: '2' }], [], [{ type: 'GPU', value: '1' }]), [3, 3]);
  assert.deepEqual(gpus([{ type: 'GPU', value: 'ALL' }]), [1, 0]);
  assert.deepEqual(gpus([{ type: 'GPU', value: undefined }], [{ type: 'GPU', value: undefined }]), [1, 0]);
  assert.deepEqual(gpus([{ type: 'InferenceAccelerator', value: 'device_1' }]), [0, 0]);
});

test('addresses of its own are the task’s with awsvpc alone', () => {
  const modes = (['awsvpc', 'bridge', 'host', 'none', undefined] as const).map((networkMode) => parse({ networkMode }));
  assert.deepEqual(
    modes.map(({ needsSubnets }) => needsSubnets),
    [true, false, false, false, false],
  );
});
