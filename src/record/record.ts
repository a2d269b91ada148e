/** What EC2 says of this node. `null`: EC2 has no such thing for this node. A field that could not be read is absent. */
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

/** What ecs-agent says of itself. */
export interface EcsAgentFacts {
  /** `null` while the agent runs but is not registered: the schema allows it. */
  readonly containerInstanceArn: string | null;
  /** The cluster's name, also where ecs-agent was configured with the cluster's ARN. */
  readonly cluster: string | null;
  readonly agentVersion: string | null;
  readonly agentHash: string | null;
}

/** The record's contract with other people's pipelines; a reader must skip what is newer. */
export const SCHEMA_VERSION = 1;

export const HEALTH_STATUSES = ['passing', 'warning', 'critical'] as const;
export type HealthStatus = (typeof HEALTH_STATUSES)[number];

export const DEPARTURE_CAUSES = ['stopped', 'spot-interruption', 'maintenance', 'asg-termination'] as const;
export type DepartureCause = (typeof DEPARTURE_CAUSES)[number];

export interface CheckVerdict {
  readonly name: string;
  readonly status: HealthStatus;
  /** One line for a person; empty while there is nothing to say. */
  readonly reason: string;
  /** RFC 3339 instant at which `status` began. */
  readonly since: string;
}

export interface Health {
  /** The worst of the checks. */
  readonly status: HealthStatus;
  readonly since: string;
  readonly checks: readonly CheckVerdict[];
}

/** The kinds of EC2 notices, most urgent first. A record holds one notice: the most urgent. */
export const INTERRUPTION_KINDS = [
  'spot-interruption',
  'asg-termination',
  'maintenance',
  'rebalance-recommendation',
] as const;
export type InterruptionKind = (typeof INTERRUPTION_KINDS)[number];

/** A notice that AWS is about to take the node away. */
export interface Interruption {
  readonly kind: string;
  readonly action: string | null;
  /** RFC 3339 instant the notice names, where it names one. */
  readonly time: string | null;
}

export interface Departure {
  readonly cause: DepartureCause;
  readonly at: string;
}

/**
 * What a node publishes about itself. Names follow ECS's DescribeContainerInstances wherever it has one. It holds no
 * instant that ticks and no counter, so that a node where nothing happens has nothing to write. Unknown is `null`.
 */
export interface NodeRecord extends MetadataFacts {
  readonly schemaVersion: number;
  readonly containerInstanceArn: string | null;
  readonly cluster: string | null;
  readonly versionInfo: { readonly agentVersion: string | null; readonly agentHash: string | null };
  /** 32 hex digits of /etc/machine-id: what fleet calls the machine. */
  readonly machineId: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly health: Health;
  readonly interruption: Interruption | null;
  readonly departure: Departure | null;
  readonly registeredAt: string;
  readonly sidecar: { readonly version: string; readonly session: string };
}

/** The value of a presence key. */
export interface Presence {
  /** The agent process that holds the seat. */
  readonly session: string;
  /** RFC 3339 instant at which that agent started. Of two agents on one node the one that started last keeps the seat. */
  readonly since: string;
  readonly ttlSeconds: number;
}

/** Everything a record is made of; `null` is what nobody could say. */
export interface RecordParts {
  readonly metadata: MetadataFacts;
  readonly ecsAgent: EcsAgentFacts | null;
  readonly machineId: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly health: Health;
  readonly interruption: Interruption | null;
  /** RFC 3339. */
  readonly registeredAt: string;
  readonly sidecar: { readonly version: string; readonly session: string };
}

/** The record of a node that is there. A departure is added only by the publisher, when it leaves. */
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
    registeredAt: parts.registeredAt,
    sidecar: parts.sidecar,
  };
}
