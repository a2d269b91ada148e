import type { Room } from './simulated-instance.ts';

/** As DescribeTaskDefinition answers it; what was registered beside these fields is kept and answered too. */
export interface TaskDefinition {
  readonly taskDefinitionArn: string;
  readonly family: string;
  readonly revision: number;
  readonly status: 'ACTIVE';
  readonly networkMode: string;
  /** Of the task as a whole, in CPU units and MiB. */
  readonly cpu?: string;
  readonly memory?: string;
  readonly containerDefinitions: readonly ContainerDefinition[];
}

export interface ContainerDefinition {
  readonly name: string;
  readonly image: string;
  readonly cpu: number;
  readonly memory?: number;
  readonly memoryReservation?: number;
  readonly portMappings: readonly PortMapping[];
}

export interface PortMapping {
  readonly containerPort: number;
  /** 0: docker takes a free one. */
  readonly hostPort: number;
  readonly protocol: 'tcp' | 'udp';
}

export interface SimulatedTask {
  readonly taskArn: string;
  readonly clusterArn: string;
  readonly containerInstanceArn: string;
  readonly taskDefinitionArn: string;
  readonly group: string;
  readonly startedBy: string | null;
  /** Wall clock. */
  readonly createdAtMs: number;
  readonly needs: Room;
}

/** What a task of it takes; of host ports, those that it fixes. */
export function taskNeeds(definition: TaskDefinition): Room {
  const { containerDefinitions: containers, cpu, memory, networkMode } = definition;
  const mappings = networkMode === 'bridge' || networkMode === 'host' ? containers.flatMap((c) => c.portMappings) : [];
  const fixed = (protocol: string) =>
    mappings
      .filter((mapping) => mapping.protocol === protocol)
      .map(({ hostPort, containerPort }) => (networkMode === 'host' ? containerPort : hostPort))
      .filter((port) => port !== 0);
  const reserved = containers.reduce((sum, c) => sum + (c.memoryReservation ?? c.memory ?? 0), 0);
  return {
    cpuUnits: cpu === undefined ? containers.reduce((sum, c) => sum + c.cpu, 0) : Number(cpu),
    memoryMiB: memory === undefined ? reserved : Number(memory),
    ports: fixed('tcp'),
    portsUdp: fixed('udp'),
  };
}
