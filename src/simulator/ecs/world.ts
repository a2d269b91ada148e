import { containerInstanceArn, type SimulatedNode } from '../simulated-node.ts';

export function clusterArn(accountId: string, region: string, name: string): string {
  return `arn:aws:ecs:${region}:${accountId}:cluster/${name}`;
}

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
  /** Monotonic clock; ECS's answers contain it from then on. */
  readonly visibleFromMs: number;
  readonly registered: Room;
  /** Remaining resources; of ports, those in use. */
  readonly remaining: Room;
  /** In the order of PutAttributes. */
  readonly attributes: ReadonlyMap<string, string | null>;
  readonly runningTasksCount: number;
}

export interface Room {
  readonly cpuUnits: number;
  readonly memoryMiB: number;
  readonly ports: readonly number[];
  readonly portsUdp: readonly number[];
}

interface Registration {
  readonly node: SimulatedNode;
  readonly agentVersion: string;
  /** See `containerInstanceArn`. */
  readonly generation: number;
  readonly wallMs: number;
  readonly visibleFromMs: number;
}

/** An m5.large: 2 vCPU, and 8 GiB less the system's memory; the ports of ssh, docker and ecs-agent are in use. */
const ROOM: Room = { cpuUnits: 2_048, memoryMiB: 7_764, ports: [22, 2375, 2376, 51678, 51679], portsUdp: [] };

/** The container instance that ecs-agent registers. */
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

/** The answer of DescribeTaskDefinition. Other registered fields are kept and answered too. */
export interface TaskDefinition {
  readonly taskDefinitionArn: string;
  readonly family: string;
  readonly revision: number;
  readonly status: 'ACTIVE';
  readonly networkMode: string;
  /** Of the whole task, in CPU units and MiB. */
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
  /** 0: docker chooses a free port. */
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

/** The resources that a task of it needs; only fixed host ports. */
export function needsOf(definition: TaskDefinition): Room {
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

/** The state of the simulated ECS. Immutable; a request returns a new state or the same one. */
export interface EcsWorld {
  readonly accountId: string;
  /** Cluster ARNs. A request to another region sees none of them. */
  readonly clusters: ReadonlySet<string>;
  /** Container instances by ARN. */
  readonly instances: ReadonlyMap<string, SimulatedInstance>;
  /** Revisions by family, from 1. */
  readonly taskDefinitions: ReadonlyMap<string, readonly TaskDefinition[]>;
  /** Running tasks by ARN. */
  readonly tasks: ReadonlyMap<string, SimulatedTask>;
  /** Incremented for each task, so that each has its own id. */
  readonly serial: number;
}

export function emptyWorld(accountId: string): EcsWorld {
  const nothing = new Map<string, never>();
  return { accountId, clusters: new Set(), instances: nothing, taskDefinitions: nothing, tasks: nothing, serial: 0 };
}

export function withCluster(world: EcsWorld, arn: string): EcsWorld {
  return world.clusters.has(arn) ? world : { ...world, clusters: new Set([...world.clusters, arn]) };
}

/** Adds instances; each replaces the one with the same ARN. */
export function withInstances(world: EcsWorld, changed: readonly SimulatedInstance[]): EcsWorld {
  const instances = new Map(world.instances);
  for (const instance of changed) instances.set(instance.containerInstanceArn, instance);
  return { ...world, instances };
}

export function withoutInstance(world: EcsWorld, arn: string): EcsWorld {
  const instances = new Map(world.instances);
  instances.delete(arn);
  return { ...world, instances };
}

/** A container instance in the form of DescribeContainerInstances: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerInstance.html */
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
