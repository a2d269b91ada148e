import type { Room, SimulatedInstance } from './simulated-instance.ts';

/** A container instance as DescribeContainerInstances has it: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerInstance.html */
export function wireInstance(instance: SimulatedInstance): Readonly<Record<string, unknown>> {
  const { agentVersion, agentHash } = instance;
  return {
    containerInstanceArn: instance.containerInstanceArn,
    ec2InstanceId: instance.ec2InstanceId,
    version: 1,
    versionInfo: { agentVersion, agentHash, dockerVersion: 'DockerVersion: 20.10.23' },
    remainingResources: wireRoom(instance.remaining),
    registeredResources: wireRoom(instance.registered),
    status: instance.status,
    agentConnected: instance.agentConnected,
    runningTasksCount: instance.runningTasksCount,
    pendingTasksCount: 0,
    attributes: wireAttributes(instance),
    registeredAt: instance.registeredAtMs / 1_000,
    attachments: [],
    tags: [],
  };
}

export function wireAttributes({ attributes }: SimulatedInstance): readonly { name: string; value?: string }[] {
  return [...attributes].map(([name, value]) => (value === null ? { name } : { name, value }));
}

function wireRoom({ cpuUnits, memoryMiB, ports, portsUdp }: Room): readonly unknown[] {
  const none = { doubleValue: 0, longValue: 0, integerValue: 0 };
  const integer = (name: string, integerValue: number) => ({ name, type: 'INTEGER', ...none, integerValue });
  const set = (name: string, values: readonly number[]) => ({
    name,
    type: 'STRINGSET',
    ...none,
    stringSetValue: values.map(String),
  });
  return [integer('CPU', cpuUnits), integer('MEMORY', memoryMiB), set('PORTS', ports), set('PORTS_UDP', portsUdp)];
}
