import type { Attribute, ContainerInstance, Described, EcsApi } from '../../src/ecs/ecs-api.ts';
import { EcsError } from '../../src/ecs/ecs-errors.ts';

/** The part of ECS that an agent changes, in memory, for the instances that it was given. */
export interface FakeAgentEcs extends EcsApi {
  readonly instances: Map<string, ContainerInstance>;
  /** Actions in order, as `DRAINING`, `ACTIVE`, `describe`, `put rollcall.health=passing`, `delete NAME`. */
  readonly calls: string[];
  /** Thrown by these actions, by their IAM name, while it is there. */
  readonly failing: Map<string, EcsError>;
  /** Carried out, but the caller never hears of it. */
  loseAnswers: boolean;
  /** An ARN that it was not told of is an ACTIVE instance. */
  knowsAll: boolean;
  add(arn: string, overrides?: Partial<ContainerInstance>): void;
  set(arn: string, overrides: Partial<ContainerInstance>): void;
  status(arn: string): string | undefined;
  attributes(arn: string): Record<string, string | null>;
}

export const denied = (action: string) =>
  new EcsError(`${action}: AccessDeniedException`, { code: 'AccessDeniedException', retryable: false });
export const noAnswer = (action: string) => new EcsError(`${action}: no answer`, { code: 'NoAnswer', retryable: true });

export function fakeAgentEcs(): FakeAgentEcs {
  const none = { cpuUnits: 0, memoryMiB: 0, ports: [], portsUdp: [] };
  const unused = () => Promise.reject(new Error('not in this fake'));
  const answer = async <T>(action: string, carryOut: () => T): Promise<T> => {
    const failure = fake.failing.get(action);
    if (failure) throw failure;
    const result = carryOut();
    if (fake.loseAnswers) throw noAnswer(action);
    return result;
  };
  const described = (arns: readonly string[]): Described => ({
    instances: arns.flatMap((arn) => fake.instances.get(arn) ?? []),
    failures: arns.flatMap((arn) => (fake.instances.has(arn) ? [] : [{ arn, reason: 'MISSING' }])),
  });
  const change = (arn: string, attributesOf: (before: readonly Attribute[]) => readonly Attribute[]) => {
    const before = fake.instances.get(arn);
    if (!before) throw new EcsError('TargetNotFoundException', { code: 'TargetNotFoundException', retryable: false });
    const attributes = attributesOf(before.attributes);
    if (attributes.filter(({ name }) => !name.startsWith('ecs.')).length > 10) {
      throw new EcsError('AttributeLimitExceededException', {
        code: 'AttributeLimitExceededException',
        retryable: false,
      });
    }
    fake.set(arn, { attributes });
  };
  const fake: FakeAgentEcs = {
    label: 'fake',
    instances: new Map(),
    calls: [],
    failing: new Map(),
    loseAnswers: false,
    knowsAll: false,
    add(arn, overrides = {}) {
      fake.instances.set(arn, {
        ...{ containerInstanceArn: arn, cluster: 'demo', ec2InstanceId: null, status: 'ACTIVE' },
        ...{ agentConnected: true, registeredAt: null, agentVersion: null, runningTasksCount: 0, pendingTasksCount: 0 },
        ...{ registered: none, remaining: none, gpus: 0, attributes: [{ name: 'ecs.os-type', value: 'linux' }] },
        described: null,
        ...overrides,
      });
    },
    set(arn, overrides) {
      const before = fake.instances.get(arn);
      if (before) fake.instances.set(arn, { ...before, ...overrides });
    },
    status: (arn) => fake.instances.get(arn)?.status,
    attributes: (arn) =>
      Object.fromEntries((fake.instances.get(arn)?.attributes ?? []).map(({ name, value }) => [name, value])),
    describeContainerInstances: (_, arns) => {
      fake.calls.push('describe');
      for (const arn of arns) if (fake.knowsAll && !fake.instances.has(arn)) fake.add(arn);
      return answer('ecs:DescribeContainerInstances', () => described(arns));
    },
    updateContainerInstancesState: (_, arns, status) => {
      fake.calls.push(status);
      return answer('ecs:UpdateContainerInstancesState', () => {
        for (const arn of arns) fake.set(arn, { status });
        return described(arns);
      });
    },
    putAttributes: (_, arn, attributes) => {
      fake.calls.push(`put ${attributes.map(({ name, value }) => `${name}=${value}`).join(',')}`);
      return answer('ecs:PutAttributes', () =>
        change(arn, (before) => [
          ...before.filter((b) => !attributes.some(({ name }) => name === b.name)),
          ...attributes,
        ]),
      );
    },
    deleteAttributes: (_, arn, names) => {
      fake.calls.push(`delete ${names.join(',')}`);
      return answer('ecs:DeleteAttributes', () =>
        change(arn, (before) => before.filter(({ name }) => !names.includes(name))),
      );
    },
    listClusters: unused,
    listContainerInstances: unused,
    describeTaskDefinition: unused,
    startTask: unused,
    close: () => {},
  };
  return fake;
}
