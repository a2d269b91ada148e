import type { EcsAgentFacts, MetadataFacts } from './facts.ts';
import { type Health, type Interruption, type NodeRecord, SCHEMA_VERSION } from './record.ts';

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
