import type { AuditConfig } from '../audit/fleet-audit/fleet.ts';
import type { CheckConfig } from '../checks/probe.ts';
import type { EcsSettings } from '../ecs/ecs-api.ts';
import type { AccessFiles } from '../http/access.ts';
import type { MassLossLimits } from '../registry/mass-loss.ts';
import type { IdentityConfig } from '../sources/external-instance.ts';
import type { StoreConfig } from '../store/store-url.ts';
import type { DrainConfig } from './drain/cause.ts';

/** The options of an agent, parsed and within their limits. */
export interface AgentConfig {
  readonly store: StoreConfig;
  /** Whole seconds. */
  readonly presenceTtlMs: number;
  /** Whole seconds, more than the presence TTL. */
  readonly retentionMs: number;
  readonly listen: { readonly host: string; readonly port: number };
  /** What keeps that port from being open to everyone. */
  readonly access: AccessFiles;
  readonly labels: Readonly<Record<string, string>>;
  readonly identity: IdentityConfig;
  /** The cluster to assume until ecs-agent names one; null: none. */
  readonly cluster: string | null;
  /** Origin of the EC2 metadata service. */
  readonly metadataEndpoint: string;
  readonly metadataIntervalMs: number;
  readonly allowImdsV1: boolean;
  /** Origin of ecs-agent's introspection API. */
  readonly introspectionEndpoint: string;
  readonly introspectionIntervalMs: number;
  /** How often EC2's notices for this node are read. */
  readonly noticeIntervalMs: number;
  readonly checks: CheckConfig;
  /** Null: every loss is sent at once. */
  readonly massLoss: MassLossLimits | null;
  /** Null: this agent takes no part in the continuous audit. */
  readonly audit: AuditConfig | null;
  readonly ecs: EcsSettings;
  /** Whether to write attributes to this node's container instance. */
  readonly ecsAttributes: boolean;
  /** Null: ECS is never asked to drain. */
  readonly drain: DrainConfig | null;
  readonly machineIdFile: string;
}
