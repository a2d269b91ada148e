import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ResourceRequirement, TaskDefinition } from '@aws-sdk/client-ecs';
import { AnswerError } from '../../../src/ecs/aws/call.ts';
import { parseDefinedTask, parseDescribed, parseStarted, parseTaskNeeds } from '../../../src/ecs/aws/parse.ts';
import { arnOf } from '../../support/ecs-endpoint.ts';

describe('parse answers', () => {
  /** https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html */
  const web = { name: 'web', cpu: 128, memory: 512, memoryReservation: 300 };
  const log = { name: 'log', memory: 100 };

  test('the needs of containers add up, by reservation if there is one; the task’s own size takes precedence', () => {
    const none = { ports: [], portsUdp: [] };
    assert.deepEqual(parseTaskNeeds({ containerDefinitions: [web, log] }), { cpuUnits: 128, memoryMiB: 400, ...none });
    // The task's own size takes precedence.
    assert.deepEqual(parseTaskNeeds({ cpu: '1024', memory: '2048', containerDefinitions: [web, log] }), {
      cpuUnits: 1_024,
      memoryMiB: 2_048,
      ...none,
    });
    assert.deepEqual(parseTaskNeeds({ memory: '2048', containerDefinitions: [web, log] }).cpuUnits, 128);
  });

  test('host ports: the fixed ones with bridge, all with host, none with awsvpc and none', () => {
    const portMappings = [
      { containerPort: 80, hostPort: 8_080 },
      { containerPort: 53, hostPort: 53, protocol: 'udp' as const },
      { containerPort: 81, hostPort: 0 },
      { containerPort: 82 },
    ];
    const ports = (networkMode: TaskDefinition['networkMode']) => {
      const { ports, portsUdp } = parseTaskNeeds({
        networkMode,
        containerDefinitions: [{ ...web, portMappings }, log],
      });
      return [ports, portsUdp];
    };
    assert.deepEqual(ports('bridge'), [[8_080], [53]]);
    assert.deepEqual(ports(undefined), [[8_080], [53]]);
    assert.deepEqual(ports('host'), [[80, 81, 82], [53]]);
    assert.deepEqual(ports('awsvpc'), [[], []]);
    assert.deepEqual(ports('none'), [[], []]);
  });

  test('an instance and a failure belong to the ARN with the same id, in whatever form ECS writes it', () => {
    const asked = [1, 2, 3, 4].map((n) => arnOf('demo', n));
    const containerInstances = [{ containerInstanceArn: asked[0]?.replace('/demo/', '/') }];
    const failures = [
      { arn: asked[1]?.replace('/demo/', '/'), reason: 'MISSING' },
      { arn: asked[2]?.replace(/.*\//, ''), reason: 'MISSING' },
    ];
    const described = parseDescribed('demo', asked, { containerInstances, failures });
    assert.deepEqual(
      described.instances.map((each) => each.containerInstanceArn),
      [asked[0]],
    );
    assert.deepEqual(described.failures, [
      { arn: asked[1], reason: 'MISSING' },
      { arn: asked[2], reason: 'MISSING' },
      { arn: asked[3], reason: 'UNANSWERED' },
    ]);
    const tasks = [
      { taskArn: 'arn:aws:ecs:us-east-1:1:task/a', containerInstanceArn: asked[0]?.replace('/demo/', '/') },
    ];
    const started = parseStarted(asked.slice(0, 2), { tasks, failures: failures.slice(0, 1) });
    assert.deepEqual(started.tasks[0]?.containerInstanceArn, asked[0]);
    assert.deepEqual(started.failures, [{ arn: asked[1], reason: 'MISSING' }]);
  });

  test('an instant that no date can hold is not known', () => {
    const containerInstances = [{ containerInstanceArn: arnOf('demo', 1), registeredAt: new Date(Number.NaN) }];
    const { instances } = parseDescribed('demo', [arnOf('demo', 1)], { containerInstances });
    assert.equal(instances[0]?.registeredAt, null);
  });

  test('a description is kept whole where it is asked for, with its cluster', () => {
    const arn = arnOf('demo', 1);
    const whole = {
      containerInstanceArn: arn,
      versionInfo: { agentHash: '0e7482df', dockerVersion: '20.10' },
      version: 7,
    };
    const described = (keep?: boolean) =>
      parseDescribed('demo', [arn], { containerInstances: [whole] }, keep).instances[0];
    assert.deepEqual(described(true)?.described, { ...whole, cluster: 'demo' });
    assert.equal(described()?.described, null);
  });

  test('invalid ports are left out', () => {
    const portMappings = [0, -1, 65_536, 1.5, 65_535].map((hostPort) => ({ containerPort: 1, hostPort }));
    assert.deepEqual(parseTaskNeeds({ containerDefinitions: [{ portMappings }] }).ports, [65_535]);
  });

  test('an answer without a definition is an error, not a task without needs', () => {
    assert.throws(() => parseTaskNeeds(undefined), AnswerError);
  });

  test('a task without its ARN, or without its instance’s ARN, is an error', () => {
    const [taskArn, containerInstanceArn] = ['arn:aws:ecs:us-east-1:1:task/a', arnOf('demo', 1)];
    for (const task of [{ taskArn }, { containerInstanceArn }, { taskArn: '', containerInstanceArn }]) {
      assert.throws(() => parseStarted([], { tasks: [task] }), AnswerError);
    }
    assert.deepEqual(parseStarted([containerInstanceArn], { tasks: [{ taskArn, containerInstanceArn }] }).failures, []);
  });
});

describe('parse defined task', () => {
  const parse = (definition: TaskDefinition) => parseDefinedTask({ containerDefinitions: [], ...definition });

  test('required attributes have a value only if the definition names one', () => {
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

  test('GPUs add up; a shared GPU or ALL counts as one; other accelerators do not count', () => {
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

  test('only awsvpc needs subnets', () => {
    const modes = (['awsvpc', 'bridge', 'host', 'none', undefined] as const).map((networkMode) =>
      parse({ networkMode }),
    );
    assert.deepEqual(
      modes.map(({ needsSubnets }) => needsSubnets),
      [true, false, false, false, false],
    );
  });
});
