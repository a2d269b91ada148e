import type { ContainerInstance, Resources } from './container-instance.ts';

/**
 * One container instance in the names and shapes of DescribeContainerInstances, with its cluster's name beside them:
 * https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerInstance.html
 */
export function containerInstanceJson(instance: ContainerInstance): object {
  const { agentVersion, registered, remaining, gpus: _, ...same } = instance;
  return {
    ...same,
    versionInfo: { agentVersion },
    registeredResources: resourcesJson(registered),
    remainingResources: resourcesJson(remaining),
  };
}

function resourcesJson({ cpuUnits, memoryMiB, ports, portsUdp }: Resources): readonly object[] {
  return [
    { name: 'CPU', type: 'INTEGER', integerValue: cpuUnits },
    { name: 'MEMORY', type: 'INTEGER', integerValue: memoryMiB },
    { name: 'PORTS', type: 'STRINGSET', stringSetValue: ports.map(String) },
    { name: 'PORTS_UDP', type: 'STRINGSET', stringSetValue: portsUdp.map(String) },
  ];
}
