import { type CheckState, type Damping, observeCheck } from '../checks/observe-check.ts';
import { summarizeHealth } from '../checks/summarize-health.ts';
import { buildRecord } from '../record/build.ts';
import type { EcsAgentFacts, MetadataFacts } from '../record/facts.ts';
import type { Health, NodeRecord } from '../record/record.ts';

/** What does not change while the agent runs. */
export interface NodeIdentity {
  readonly machineId: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly version: string;
  readonly session: string;
  /** RFC 3339. */
  readonly startedAt: string;
}

/** All that the agent knows of its node, from whatever answered so far. */
export interface NodeState {
  readonly metadata: MetadataFacts | null;
  readonly ecsAgent: EcsAgentFacts | null;
  readonly metadataCheck: CheckState | null;
  readonly ecsAgentCheck: CheckState | null;
  readonly health: Health | null;
}

/** One thing that was learned. `error` is one line that does not tick. */
export type NodeEvent =
  /** `facts`: the merged facts; null while not even the instance id is known. `error`: what was missing or refused. */
  | { readonly kind: 'metadata'; readonly facts: MetadataFacts | null; readonly error: string | null }
  | { readonly kind: 'ecs-agent'; readonly facts: EcsAgentFacts }
  | { readonly kind: 'ecs-agent-failed'; readonly error: string };

export const initialNodeState: NodeState = {
  metadata: null,
  ecsAgent: null,
  metadataCheck: null,
  ecsAgentCheck: null,
  health: null,
};

/**
 * The node's state after an event; pure. Facts that were known stay when their source fails: the instance keeps its
 * identity and its ARN while ecs-agent restarts; the check says that they were not confirmed.
 * @param nowMs wall clock: the instants in it are for people
 */
export function reduceNode(state: NodeState, event: NodeEvent, damping: Damping, nowMs: number): NodeState {
  const next = { ...state };
  if (event.kind === 'metadata') {
    next.metadata = event.facts;
    // Once the identity is known, stale metadata is a nuisance, not a danger to the tasks on the node.
    const status = event.error === null ? 'passing' : event.facts ? 'warning' : 'critical';
    const seen = { status, reason: event.error ?? '' } as const;
    next.metadataCheck = observeCheck('metadata', state.metadataCheck, seen, damping, nowMs);
  } else if (event.kind === 'ecs-agent') {
    next.ecsAgent = event.facts;
    const seen = event.facts.containerInstanceArn
      ? ({ status: 'passing', reason: '' } as const)
      : ({ status: 'warning', reason: 'ecs-agent runs but is not registered in a cluster yet' } as const);
    next.ecsAgentCheck = observeCheck('ecs-agent', state.ecsAgentCheck, seen, damping, nowMs);
  } else {
    const seen = { status: 'critical', reason: event.error } as const;
    next.ecsAgentCheck = observeCheck('ecs-agent', state.ecsAgentCheck, seen, damping, nowMs);
  }
  const checks = [next.metadataCheck, next.ecsAgentCheck].filter((check) => check !== null);
  return { ...next, health: summarizeHealth(state.health, checks, nowMs) };
}

/** The record to publish; null until the instance id is known. */
export function desiredRecord(state: NodeState, identity: NodeIdentity): NodeRecord | null {
  if (!state.metadata || !state.health) return null;
  return buildRecord({
    metadata: state.metadata,
    ecsAgent: state.ecsAgent,
    machineId: identity.machineId,
    labels: identity.labels,
    health: state.health,
    interruption: null,
    registeredAt: identity.startedAt,
    sidecar: { version: identity.version, session: identity.session },
  });
}
