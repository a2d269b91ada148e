import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ContainerDefinition, ResourceRequirement, TaskDefinition } from '@aws-sdk/client-ecs';
import { AnswerError } from '../../../src/ecs/aws/call.ts';
import { parseDefinedTask, parseStarted, parseTaskNeeds } from '../../../src/ecs/aws/parse.ts';
import { arnOf } from '../../support/ecs-endpoint.ts';

describe('parse answers', () => {
  const CONTAINERS: ContainerDefinition[] = [
    { cpu: 100, memory: 300, memoryReservation: 200, portMappings: [{ containerPort: 80, hostPort: 8_080 }] },
    {
      cpu: 28,
      memory: 56,
      portMappings: [{ containerPort: 53, hostPort: 53, protocol: 'udp' }, { containerPort: 81 }],
    },
  ];

  test('the containers of a task add up, by their reservation where they have one', () => {
    const needs = parseTaskNeeds({ networkMode: 'bridge', containerDefinitions: CONTAINERS });
    assert.deepEqual(needs, { cpuUnits: 128, memoryMiB: 256, ports: [8_080], portsUdp: [53] });
  });

  test('a task’s own size bounds its containers', () => {
    const needs = parseTaskNeeds({ cpu: '256', memory: '512', containerDefinitions: CONTAINERS });
    assert.deepEqual([needs.cpuUnits, needs.memoryMiB], [256, 512]);
  });

  test('on the host’s network a container’s ports are the host’s; with awsvpc none is', () => {
    assert.deepEqual(parseTaskNeeds({ networkMode: 'host', containerDefinitions: CONTAINERS }).ports, [80, 81]);
    const own = parseTaskNeeds({ networkMode: 'awsvpc', containerDefinitions: CONTAINERS });
    assert.deepEqual([own.ports, own.portsUdp], [[], []]);
  });

  test('ports that cannot be are left out', () => {
    const portMappings = [0, -1, 65_536, 1.5, 65_535].map((hostPort) => ({ containerPort: 1, hostPort }));
    assert.deepEqual(parseTaskNeeds({ containerDefinitions: [{ portMappings }] }).ports, [65_535]);
  });

  test('no definition is no task that needs nothing', () => {
    assert.throws(() => parseTaskNeeds(undefined), AnswerError);
  });

  test('a task without an ARN, or without its instance’s, is no task', () => {
    const [taskArn, containerInstanceArn] = ['arn:aws:ecs:us-east-1:1:task/a', arnOf('demo', 1)];
    for (const task of [{ taskArn }, { containerInstanceArn }, { taskArn: '', containerInstanceArn }]) {
      assert.throws(() => parseStarted([], { tasks: [task] }), AnswerError);
    }
    assert.deepEqual(parseStarted([containerInstanceArn], { tasks: [{ taskArn, containerInstanceArn }] }).failures, []);
  });
});

describe('parse defined task', () => {
  const parse = (definition: TaskDefinition) => parseDefinedTask({ containerDefinitions: [], ...definition });

  test('attributes, with a value only where one is named', () => {
    const requiresAttributes = [
      { name: 'a' },
      { name: 'b', value: 'c' },
      { name: 'd', value: '' },
      { name: undefined },
    ];
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
    const modes = (['awsvpc', 'bridge', 'host', 'none', undefined] as const).map((networkMode) =>
      parse({ networkMode }),
    );
    assert.deepEqual(
      modes.map(({ needsSubnets }) => needsSubnets),
      [true, false, false, false, false],
    );
  });
});
