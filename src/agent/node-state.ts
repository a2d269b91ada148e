import {
  type CheckState,
  checkVerdict,
  type Damping,
  knownChecks,
  type Observation,
  observeCheck,
  reasonFrom,
  recallCheck,
  summarizeHealth,
} from '../checks/check.ts';
import { OWN_CHECK_NAMES } from '../record/health-facts.ts';
import { publishedSkew } from '../record/node-clock.ts';
import { buildRecord, type EcsAgentFacts, type Health, type Interruption, type NodeRecord } from '../record/record.ts';
import type { KnownMetadata } from '../sources/metadata.ts';
import { mostUrgent, type Notices } from '../sources/notices.ts';
import { completeFacts, type WholeFacts } from './kept-facts.ts';

/** What does not change while the agent runs. */
export interface NodeIdentity {
  /** undefined: its file could not be read. */
  readonly machineId: string | null | undefined;
  /** The cluster to assume until ecs-agent names one; null: none. */
  readonly cluster: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly version: string;
  readonly session: string;
  /** RFC 3339. */
  readonly startedAt: string;
}

/** What the agent knows of its node: from the sources and probes that answered so far, and from the node's last record. */
export interface NodeState {
  readonly metadata: KnownMetadata | null;
  readonly ecsAgent: EcsAgentFacts | null;
  /** Of the node's clock, as it is published. */
  readonly clockSkewSeconds: number | null;
  /** A kind that was never read is absent. */
  readonly notices: Partial<Notices>;
  /** null: not read yet, or there is none. */
  readonly last: { readonly record: NodeRecord /** On EC2's clock. */; readonly readAtMs: number } | null;
  /** Checks with at least one result, in the order of the record. */
  readonly checks: readonly CheckState[];
  readonly health: Health | null;
}

/** One new fact. `error` is one line without a changing number. */
export type NodeEvent =
  /** `facts`: the merged facts; null while the instance id is unknown. `error`: what was missing or refused. */
  | {
      readonly kind: 'metadata';
      readonly facts: KnownMetadata | null;
      readonly error: string | null;
      /** By how much the node's clock is ahead of EC2's; null: not known. */
      readonly clockSkewMs: number | null;
    }
  | { readonly kind: 'ecs-agent'; readonly facts: EcsAgentFacts }
  | { readonly kind: 'ecs-agent-failed'; readonly error: string }
  /** A kind of notice that could not be read is absent. */
  | { readonly kind: 'notices'; readonly notices: Partial<Notices>; readonly error: string | null }
  /** The node's record as an earlier agent wrote it. `checks`: the names of all checks of this agent. */
  | { readonly kind: 'last-record'; readonly record: NodeRecord | null; readonly checks: readonly string[] }
  /** The result of a probe. `isSettled`: it counts at once, because it was damped where it was found. */
  | { readonly kind: 'check'; readonly name: string; readonly seen: Observation; readonly isSettled?: boolean }
  /** There is no such check any more. */
  | { readonly kind: 'check-ended'; readonly name: string };

export const initialNodeState: NodeState = {
  metadata: null,
  ecsAgent: null,
  clockSkewSeconds: null,
  notices: {},
  last: null,
  checks: [],
  health: null,
};

/**
 * The node's state after an event; pure. Known facts stay when their source fails: the instance keeps its identity and
 * its ARN while ecs-agent restarts, and the check says that they are not confirmed. A notice stays until its source says
 * that there is none.
 * @param nowMs wall clock
 */
export function reduceNode(state: NodeState, event: NodeEvent, damping: Damping, nowMs: number): NodeState {
  const next = withFacts(state, event, nowMs);
  const checks = nextChecks(next, event, damping, nowMs);
  if (checks === state.checks && state.health) return next;
  const known = knownChecks(checks);
  const health = summarizeHealth(state.health, known, nowMs);
  return { ...next, checks, health: event.kind === 'last-record' ? recallHealth(health, known, next.last) : health };
}

/** A node's health began when the last record says if it is the same, and has been all the time of this process. */
function recallHealth(health: Health, checks: readonly CheckState[], last: NodeState['last']): Health {
  const before = last?.record.health;
  const sinceMs = Date.parse(before?.since ?? '');
  if (before?.status !== health.status || !(sinceMs < Date.parse(health.since))) return health;
  const same = checks.filter(({ status }) => status === health.status);
  const isSame =
    health.status === 'passing' ? same.every(({ isFirst }) => isFirst) : same.some(({ isFirst }) => isFirst);
  return isSame ? { ...health, since: before.since } : health;
}

const UNDAMPED: Damping = { rise: 1, fall: 1 };

function nextChecks(state: NodeState, event: NodeEvent, damping: Damping, nowMs: number): readonly CheckState[] {
  const checkOf = (name: string) => state.checks.find((check) => check.name === name) ?? null;
  const recalled = (name: string, check: CheckState | null) => {
    const last = state.last?.record.health.checks.find((each) => each.name === name);
    return last ? recallCheck(check, last) : check;
  };
  if (event.kind === 'last-record') {
    const names = new Set([...state.checks.map(({ name }) => name), ...event.checks]);
    const checks = [...names].map((name) => recalled(name, checkOf(name)));
    return checks.filter((check) => check !== null).sort(inOrder);
  }
  if (event.kind === 'check-ended') {
    return checkOf(event.name) ? state.checks.filter(({ name }) => name !== event.name) : state.checks;
  }
  const result = checkResult(event);
  if (!result) return state.checks;
  const before = checkOf(result.name);
  const isSettled = event.kind === 'check' && event.isSettled === true;
  const observed = observeCheck(result.name, before, result.seen, isSettled ? UNDAMPED : damping, nowMs);
  const after = recalled(result.name, observed) ?? observed;
  return after === before ? state.checks : [...state.checks.filter((check) => check !== before), after].sort(inOrder);
}

/** The result of a check that an event carries, before damping; null for an event without one. */
export function checkResult(event: NodeEvent): { readonly name: string; readonly seen: Observation } | null {
  switch (event.kind) {
    case 'metadata': {
      // Once the identity is known, stale metadata does not endanger the tasks on the node.
      const status = event.error === null ? 'passing' : event.facts ? 'warning' : 'critical';
      // Ten paths may have failed, each with its own sentence: the record gets the start, `/v1/self` has all of it.
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
      return {
        name: 'notices',
        seen: { status: event.error === null ? 'passing' : 'warning', reason: reasonFrom(event.error ?? '') },
      };
    case 'last-record':
    case 'check-ended':
      return null;
    case 'check':
      return event;
  }
}

function withFacts(state: NodeState, event: NodeEvent, nowMs: number): NodeState {
  if (event.kind === 'metadata') {
    const clockSkewSeconds = publishedSkew(state.clockSkewSeconds, event.clockSkewMs);
    return { ...state, metadata: event.facts, clockSkewSeconds };
  }
  if (event.kind === 'ecs-agent') return { ...state, ecsAgent: event.facts };
  if (event.kind === 'notices') return { ...state, notices: { ...state.notices, ...event.notices } };
  if (event.kind === 'last-record') {
    const readAtMs = nowMs - (state.clockSkewSeconds ?? 0) * 1_000;
    return { ...state, last: event.record && { record: event.record, readAtMs } };
  }
  return state;
}

function inOrder(a: CheckState, b: CheckState): number {
  return rank(a) - rank(b) || (a.name < b.name ? -1 : 1);
}

function rank({ name }: CheckState): number {
  const at = OWN_CHECK_NAMES.indexOf(name);
  return at === -1 ? OWN_CHECK_NAMES.length : at;
}

/** All facts of the node; null until the instance id is known. */
function nodeFacts({ metadata, ecsAgent, notices, last }: NodeState, identity: NodeIdentity): WholeFacts | null {
  if (!metadata) return null;
  const { machineId, cluster } = identity;
  const read = { metadata, ecsAgent, notices, machineId, configuredCluster: cluster };
  return completeFacts(read, last?.record ?? null, last?.readAtMs ?? 0);
}

/** What an earlier agent added to the reason of a check that is recalled. */
const UNCONFIRMED = /; [^;]+, unconfirmed$/;

/** The checks as they are published: a check that fails says which facts its source has not confirmed. */
export function publishedChecks(state: NodeState, identity: NodeIdentity): readonly CheckState[] {
  const unconfirmed = nodeFacts(state, identity)?.unconfirmed ?? null;
  const checks = knownChecks(state.checks);
  if (unconfirmed === null) return checks;
  return checks.map((check) =>
    check.name === 'ecs-agent' && check.status !== 'passing'
      ? { ...check, reason: reasonFrom(check.reason.replace(UNCONFIRMED, ''), `; ${unconfirmed}`) }
      : check,
  );
}

/** The record to publish; null until the instance id is known. */
export function desiredRecord(state: NodeState, identity: NodeIdentity): NodeRecord | null {
  const facts = nodeFacts(state, identity);
  if (!facts || !state.health) return null;
  return buildRecord({
    metadata: facts.metadata,
    ecsAgent: facts.ecsAgent,
    machineId: facts.machineId,
    labels: identity.labels,
    health: { ...state.health, checks: publishedChecks(state, identity).map(checkVerdict) },
    interruption: mostUrgent(facts.notices),
    clockSkewSeconds: state.clockSkewSeconds,
    registeredAt: identity.startedAt,
    sidecar: { version: identity.version, session: identity.session },
  });
}

/** The notice that is published; null: none. */
export function publishedInterruption(state: NodeState, identity: NodeIdentity): Interruption | null {
  return mostUrgent(nodeFacts(state, identity)?.notices ?? state.notices);
}
