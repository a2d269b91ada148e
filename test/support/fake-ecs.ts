import type { ContainerInstance, EcsApi, Page } from '../../src/ecs/ecs-api.ts';

/** ECS with one cluster of `size` instances, in memory; counts the requests. */
export interface FakeEcs extends EcsApi {
  readonly requests: { readonly name: string; readonly atMs: number }[];
  closed: number;
  /** Every request rejects with it. */
  error: Error | null;
}

/** @param turn what each request waits for */
export function fakeEcs(
  size: number,
  monotonicMs: () => number,
  turn: (signal: AbortSignal) => Promise<void> = async () => {},
): FakeEcs {
  const arn = (n: number) => `arn:aws:ecs:us-east-1:123456789012:container-instance/demo/${n}`;
  const ask = async (name: string, signal: AbortSignal) => {
    await turn(signal);
    api.requests.push({ name, atMs: monotonicMs() });
    if (api.error) throw api.error;
  };
  const page = (arns: readonly string[], from: string | null): Page => {
    const first = Number(from ?? '0');
    return { arns: arns.slice(first, first + 100), next: first + 100 < arns.length ? String(first + 100) : null };
  };
  const unused = () => Promise.reject(new Error('this fake changes nothing'));
  const api: FakeEcs = {
    label: 'fake',
    requests: [],
    closed: 0,
    error: null,
    listClusters: async (from, signal) => {
      await ask('ListClusters', signal);
      return page(['arn:aws:ecs:us-east-1:123456789012:cluster/demo'], from);
    },
    listContainerInstances: async (_, from, signal) => {
      await ask('ListContainerInstances', signal);
      return page(
        Array.from({ length: size }, (_, n) => arn(n)),
        from,
      );
    },
    describeContainerInstances: async (_, arns, signal) => {
      await ask('DescribeContainerInstances', signal);
      return { instances: arns.map(instance), failures: [] };
    },
    updateContainerInstancesState: unused,
    putAttributes: unused,
    deleteAttributes: unused,
    describeTaskDefinition: unused,
    startTask: unused,
    close: () => {
      api.closed += 1;
    },
  };
  return api;
}

function instance(containerInstanceArn: string): ContainerInstance {
  const none = { cpuUnits: 0, memoryMiB: 0, ports: [], portsUdp: [] };
  return {
    containerInstanceArn,
    cluster: 'demo',
    ec2InstanceId: `i-${Number(containerInstanceArn.split('/').at(-1)).toString(16).padStart(8, '0')}`,
    status: 'ACTIVE',
    agentConnected: true,
    registeredAt: null,
    agentVersion: '1.70.0',
    runningTasksCount: 0,
    pendingTasksCount: 0,
    registered: none,
    remaining: none,
    gpus: 0,
    attributes: [],
    described: null,
  };
}
