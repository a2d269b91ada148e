import type { MetadataFacts } from './facts.ts';

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
