import { type CheckState, type Damping, type Observation, observeCheck } from '../checks/observe-check.ts';
import { reasonFrom } from '../checks/reason.ts';
import { summarizeHealth } from '../checks/summarize-health.ts';
import { buildRecord } from '../record/build.ts';
import type { EcsAgentFacts, MetadataFacts } from '../record/facts.ts';
import type { Health, NodeRecord } from '../record/record.ts';
import { mostUrgent, NO_NOTICES, type Notices } from '../sources/notices.ts';

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
  readonly notices: Notices;
  /** Those that were looked at, in the order in which the record tells them. */
  readonly checks: readonly CheckState[];
  readonly health: Health | null;
}

/** One thing that was learned. `error` is one line that does not tick. */
export type NodeEvent =
  /** `facts`: the merged facts; null while not even the instance id is known. `error`: what was missing or refused. */
  | { readonly kind: 'metadata'; readonly facts: MetadataFacts | null; readonly error: string | null }
  | { readonly kind: 'ecs-agent'; readonly facts: EcsAgentFacts }
  | { readonly kind: 'ecs-agent-failed'; readonly error: string }
  /** A kind of notice that could not be read is absent. */
  | { readonly kind: 'notices'; readonly notices: Partial<Notices> }
  /** A look by a probe of its own. */
  | { readonly kind: 'check'; readonly name: string; readonly seen: Observation };

export const initialNodeState: NodeState = {
  metadata: null,
  ecsAgent: null,
  notices: NO_NOTICES,
  checks: [],
  health: null,
};

/** Checks of ours come first, in this order; an operator's own follow by name. */
const OWN_CHECKS = ['metadata', 'ecs-agent', 'docker', 'disk'];

/**
 * The node's state after an event; pure. Facts that were known stay when their source fails: the instance keeps its
 * identity and its ARN while ecs-agent restarts; the check says that they were not confirmed. A notice stays until its
 * source says that there is none: unknown is not gone.
 * @param nowMs wall clock: the instants in it are for people
 */
export function reduceNode(state: NodeState, event: NodeEvent, damping: Damping, nowMs: number): NodeState {
  const next = learnFacts(state, event);
  const look = lookOf(event);
  if (!look) return next;
  const before = state.checks.find((check) => check.name === look.name) ?? null;
  const after = observeCheck(look.name, before, look.seen, damping, nowMs);
  if (after === before) return next;
  const checks = [...state.checks.filter((check) => check !== before), after].sort(inOrder);
  return { ...next, checks, health: summarizeHealth(state.health, checks, nowMs) };
}

/** What an event says of a check, before damping; null for one that says nothing of any. */
export function lookOf(event: NodeEvent): { readonly name: string; readonly seen: Observation } | null {
  switch (event.kind) {
    case 'metadata': {
      // Once the identity is known, stale metadata is a nuisance, not a danger to the tasks on the node.
      const status = event.error === null ? 'passing' : event.facts ? 'warning' : 'critical';
      // Ten leaves may have failed, each with a sentence of its own: the record is read by all, `/v1/self` has the whole.
      return { name: 'metadata', seen: { status, reason: reasonFrom(event.error ?? '') } };
    }
    case 'ecs-agent':
      return {
        name: 'ecs-agent',
        seen: event.facts.containerInstanceArn
          ? { status: 'passing', reason: '' }
          : { status: 'warning', reason: 'ecs-agent runs but is not registered in a cluster yet' },
      };
    case 'ecs-agent-failed':
      return { name: 'ecs-agent', seen: { status: 'critical', reason: reasonFrom(event.error) } };
    case 'notices':
      // They come from where metadata comes from, and its check speaks for both.
      return null;
    case 'check':
      return event;
  }
}

function learnFacts(state: NodeState, event: NodeEvent): NodeState {
  if (event.kind === 'metadata') return { ...state, metadata: event.facts };
  if (event.kind === 'ecs-agent') return { ...state, ecsAgent: event.facts };
  if (event.kind === 'notices') return { ...state, notices: { ...state.notices, ...event.notices } };
  return state;
}

function inOrder(a: CheckState, b: CheckState): number {
  return rank(a) - rank(b) || (a.name < b.name ? -1 : 1);
}

function rank({ name }: CheckState): number {
  const at = OWN_CHECKS.indexOf(name);
  return at === -1 ? OWN_CHECKS.length : at;
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
    interruption: mostUrgent(state.notices),
    registeredAt: identity.startedAt,
    sidecar: { version: identity.version, session: identity.session },
  });
}
