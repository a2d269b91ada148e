import { containerInstanceArn, type SimulatedNode } from '../simulated-node.ts';
import { clusterArn } from './cluster-arn.ts';

export interface SimulatedInstance {
  readonly containerInstanceArn: string;
  readonly clusterArn: string;
  readonly ec2InstanceId: string;
  readonly status: string;
  readonly agentConnected: boolean;
  readonly agentVersion: string;
  readonly agentHash: string;
  /** Wall clock. */
  readonly registeredAtMs: number;
  /** Monotonic: ECS's answers show it from then on. */
  readonly visibleFromMs: number;
  readonly registered: Room;
  /** What tasks have not taken; of ports, those in use. */
  readonly remaining: Room;
  /** In the order in which they were put. */
  readonly attributes: ReadonlyMap<string, string | null>;
  readonly runningTasksCount: number;
}

export interface Room {
  readonly cpuUnits: number;
  readonly memoryMiB: number;
  readonly ports: readonly number[];
  readonly portsUdp: readonly number[];
}

export interface Registration {
  readonly node: SimulatedNode;
  readonly agentVersion: string;
  /** See `containerInstanceArn`. */
  readonly generation: number;
  readonly wallMs: number;
  readonly visibleFromMs: number;
}

/** An m5.large: 2 vCPU, and what the system leaves of its 8 GiB; ssh, docker and ecs-agent have their ports. */
const ROOM: Room = { cpuUnits: 2_048, memoryMiB: 7_764, ports: [22, 2375, 2376, 51678, 51679], portsUdp: [] };

/** The container instance as ecs-agent registers it. */
export function registeredInstance({ node, agentVersion, generation, ...at }: Registration): SimulatedInstance {
  const old = agentVersion === '1.0.0';
  return {
    containerInstanceArn: containerInstanceArn(node, generation, !old),
    clusterArn: clusterArn(node.accountId, node.region, node.cluster),
    ec2InstanceId: node.instanceId,
    status: 'ACTIVE',
    agentConnected: true,
    agentVersion,
    agentHash: old ? 'UNKNOWN' : '0e7482df',
    registeredAtMs: at.wallMs,
    visibleFromMs: at.visibleFromMs,
    registered: ROOM,
    remaining: ROOM,
    attributes: new Map<string, string | null>([
      ['ecs.ami-id', node.imageId],
      ['ecs.availability-zone', node.availabilityZone],
      ['ecs.instance-type', node.instanceType],
      ['ecs.os-type', 'linux'],
      ['ecs.cpu-architecture', node.architecture],
      ['com.amazonaws.ecs.capability.docker-remote-api.1.21', null],
    ]),
    runningTasksCount: 0,
  };
}
