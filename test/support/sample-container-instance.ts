import type { ContainerInstance } from '../../src/ecs/ecs-api.ts';

const NOTHING = { cpuUnits: 0, memoryMiB: 0, ports: [], portsUdp: [] };

/** A container instance of the cluster `demo`, idle and in good order. */
export function sampleContainerInstance(
  containerInstanceArn: string,
  ec2InstanceId: string,
  overrides: Partial<ContainerInstance> = {},
): ContainerInstance {
  return {
    containerInstanceArn,
    cluster: 'demo',
    ec2InstanceId,
    status: 'ACTIVE',
    agentConnected: true,
    registeredAt: '2026-01-01T00:00:00.000Z',
    agentVersion: '1.70.0',
    runningTasksCount: 0,
    pendingTasksCount: 0,
    registered: NOTHING,
    remaining: NOTHING,
    gpus: 0,
    attributes: [],
    described: null,
    ...overrides,
  };
}
