/** EC2's metadata of this node. `null`: EC2 has no value for this node. A field that could not be read is absent. */
export interface MetadataFacts {
  readonly ec2InstanceId: string;
  readonly privateIpAddress: string | null;
  readonly publicIpAddress: string | null;
  readonly privateDnsName: string | null;
  readonly availabilityZone: string | null;
  readonly region: string | null;
  readonly instanceType: string | null;
  readonly imageId: string | null;
  readonly accountId: string | null;
  /** `on-demand`, `spot` or `scheduled`, as IMDS writes it. */
  readonly instanceLifecycle: string | null;
}

/** ecs-agent's own metadata. */
export interface EcsAgentFacts {
  /** `null` while ecs-agent runs but has not registered. */
  readonly containerInstanceArn: string | null;
  /** The cluster's name, also when ecs-agent is configured with the cluster's ARN. */
  readonly cluster: string | null;
  readonly agentVersion: string | null;
  readonly agentHash: string | null;
}

/** The version of the record's contract with its readers; a reader must skip newer records. */
export const SCHEMA_VERSION = 1;

export const HEALTH_STATUSES = ['passing', 'warning', 'critical'] as const;
export type HealthStatus = (typeof HEALTH_STATUSES)[number];

export const DEPARTURE_CAUSES = ['stopped', 'restart', 'spot-interruption', 'maintenance', 'asg-termination'] as const;
export type DepartureCause = (typeof DEPARTURE_CAUSES)[number];

export interface CheckVerdict {
  readonly name: string;
  readonly status: HealthStatus;
  /** One line for a person; empty: none. */
  readonly reason: string;
  /** RFC 3339 instant at which `status` began. */
  readonly since: string;
}

export interface Health {
  /** The worst status of the checks. */
  readonly status: HealthStatus;
  readonly since: string;
  readonly checks: readonly CheckVerdict[];
}

/** The kinds of EC2 notices, most urgent first. A record has only the most urgent notice. */
export const INTERRUPTION_KINDS = [
  'spot-interruption',
  'asg-termination',
  'maintenance',
  'rebalance-recommendation',
] as const;
export type InterruptionKind = (typeof INTERRUPTION_KINDS)[number];

/** A notice that AWS is about to stop or terminate the node. */
export interface Interruption {
  readonly kind: string;
  readonly action: string | null;
  /** The RFC 3339 instant in the notice; null: it has none. */
  readonly time: string | null;
}

export interface Departure {
  readonly cause: DepartureCause;
  readonly at: string;
}

/**
 * What a node publishes about itself. Names are those of ECS's DescribeContainerInstances where it has one. The record has
 * no ticking instant and no counter, so that a node without changes has nothing to write. Unknown is `null`.
 */
export interface NodeRecord extends MetadataFacts {
  readonly schemaVersion: number;
  readonly containerInstanceArn: string | null;
  readonly cluster: string | null;
  readonly versionInfo: { readonly agentVersion: string | null; readonly agentHash: string | null };
  /** 32 hex digits of /etc/machine-id: fleet's id of the machine. */
  readonly machineId: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly health: Health;
  readonly interruption: Interruption | null;
  readonly departure: Departure | null;
  /** Seconds by which the node's clock is ahead of EC2's, in whole minutes; 0: less than one; negative: behind. */
  readonly clockSkewSeconds: number | null;
  readonly registeredAt: string;
  readonly sidecar: { readonly version: string; readonly session: string };
}

/** The value of a presence key. */
export interface Presence {
  /** The agent process that is registered. */
  readonly session: string;
  /** RFC 3339 instant at which that agent started. Of two agents on one node the one that started last stays registered. */
  readonly since: string;
  readonly ttlSeconds: number;
}

/** The parts of a record; `null`: unknown. */
interface RecordParts {
  readonly metadata: MetadataFacts;
  readonly ecsAgent: EcsAgentFacts | null;
  readonly machineId: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly health: Health;
  readonly interruption: Interruption | null;
  readonly clockSkewSeconds: number | null;
  /** RFC 3339. */
  readonly registeredAt: string;
  readonly sidecar: { readonly version: string; readonly session: string };
}

/** The record of a present node. Only the publisher adds a departure, when it deregisters. */
export function buildRecord(parts: RecordParts): NodeRecord {
  const { metadata, ecsAgent } = parts;
  return {
    schemaVersion: SCHEMA_VERSION,
    ...metadata,
    containerInstanceArn: ecsAgent?.containerInstanceArn ?? null,
    cluster: ecsAgent?.cluster ?? null,
    versionInfo: { agentVersion: ecsAgent?.agentVersion ?? null, agentHash: ecsAgent?.agentHash ?? null },
    machineId: parts.machineId,
    labels: parts.labels,
    health: parts.health,
    interruption: parts.interruption,
    departure: null,
    clockSkewSeconds: parts.clockSkewSeconds,
    registeredAt: parts.registeredAt,
    sidecar: parts.sidecar,
  };
}
