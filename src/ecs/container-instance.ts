/** A container instance as the ECS API describes it; names follow DescribeContainerInstances. */
export interface ContainerInstance {
  readonly containerInstanceArn: string;
  /** The cluster's name. */
  readonly cluster: string;
  /** `i-…`, or `mi-…` for an external instance; null where ECS does not say. */
  readonly ec2InstanceId: string | null;
  /** ACTIVE, DRAINING, REGISTERING, DEREGISTERING, REGISTRATION_FAILED, or what a later ECS calls it. */
  readonly status: string;
  readonly agentConnected: boolean;
  /** RFC 3339. */
  readonly registeredAt: string | null;
  readonly agentVersion: string | null;
  readonly runningTasksCount: number;
  readonly pendingTasksCount: number;
  readonly registered: Resources;
  /** What tasks have not taken. */
  readonly remaining: Resources;
  /** In the host, taken or not. */
  readonly gpus: number;
  readonly attributes: readonly Attribute[];
}

export interface Resources {
  /** 1,024 are one vCPU. */
  readonly cpuUnits: number;
  readonly memoryMiB: number;
  /** Host ports that are taken: ECS lists under both resources those in use. */
  readonly ports: readonly number[];
  readonly portsUdp: readonly number[];
}

export interface Attribute {
  readonly name: string;
  readonly value: string | null;
}
