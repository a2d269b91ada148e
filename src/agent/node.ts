import type { Logger } from 'pino';
import {
  type CheckRuns,
  type CheckState,
  countRun,
  type Damping,
  type Observation,
  observeCheck,
  reasonFrom,
  summarizeHealth,
  type WatchedCheck,
} from '../checks/check.ts';
import type { Probe } from '../checks/probe.ts';
import { firstRunMs, runProbe } from '../checks/run-probes.ts';
import { untilAborted } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import type { LoopMonitor, Task } from '../lib/run-group.ts';
import {
  buildRecord,
  type EcsAgentFacts,
  type Health,
  type Interruption,
  type MetadataFacts,
  type NodeRecord,
} from '../record/record.ts';
import { readExternal, thisHost } from '../sources/external-instance.ts';
import { createImdsClient } from '../sources/imds.ts';
import { createIntrospectionReader } from '../sources/introspection.ts';
import { mergeMetadata, readMetadata } from '../sources/metadata.ts';
import { mostUrgent, NO_NOTICES, type Notices, readNotices } from '../sources/notices.ts';
import { pollSource, type SourceStatus } from '../sources/poll-source.ts';
import type { AgentConfig } from './agent-config.ts';

/** What does not change while the agent runs. */
export interface NodeIdentity {
  readonly machineId: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly version: string;
  readonly session: string;
  /** RFC 3339. */
  readonly startedAt: string;
}

/** What the agent knows of its node, from the sources and probes that answered so far. */
export interface NodeState {
  readonly metadata: MetadataFacts | null;
  readonly ecsAgent: EcsAgentFacts | null;
  readonly notices: Notices;
  /** Checks with at least one result, in the order of the record. */
  readonly checks: readonly CheckState[];
  readonly health: Health | null;
}

/** One new fact. `error` is one line without a changing number. */
export type NodeEvent =
  /** `facts`: the merged facts; null while the instance id is unknown. `error`: what was missing or refused. */
  | { readonly kind: 'metadata'; readonly facts: MetadataFacts | null; readonly error: string | null }
  | { readonly kind: 'ecs-agent'; readonly facts: EcsAgentFacts }
  | { readonly kind: 'ecs-agent-failed'; readonly error: string }
  /** A kind of notice that could not be read is absent. */
  | { readonly kind: 'notices'; readonly notices: Partial<Notices> }
  /** The result of a probe. */
  | { readonly kind: 'check'; readonly name: string; readonly seen: Observation };

export const initialNodeState: NodeState = {
  metadata: null,
  ecsAgent: null,
  notices: NO_NOTICES,
  checks: [],
  health: null,
};

/** Built-in checks come first, in this order; the operator's checks follow by name. */
const OWN_CHECKS = ['metadata', 'ecs-agent', 'docker', 'disk'];

/**
 * The node's state after an event; pure. Known facts stay when their source fails: the instance keeps its identity and
 * its ARN while ecs-agent restarts, and the check says that they are not confirmed. A notice stays until its source says
 * that there is none.
 * @param nowMs wall clock
 */
export function reduceNode(state: NodeState, event: NodeEvent, damping: Damping, nowMs: number): NodeState {
  const next = withFacts(state, event);
  const result = checkResult(event);
  if (!result) return next;
  const before = state.checks.find((check) => check.name === result.name) ?? null;
  const after = observeCheck(result.name, before, result.seen, damping, nowMs);
  if (after === before) return next;
  const checks = [...state.checks.filter((check) => check !== before), after].sort(inOrder);
  return { ...next, checks, health: summarizeHealth(state.health, checks, nowMs) };
}

/** The result of a check that an event carries, before damping; null for an event without one. */
function checkResult(event: NodeEvent): { readonly name: string; readonly seen: Observation } | null {
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
      // Notices come from IMDS like the metadata: the check `metadata` covers both.
      return null;
    case 'check':
      return event;
  }
}

function withFacts(state: NodeState, event: NodeEvent): NodeState {
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

interface ObserveLog {
  /** Called around a read of a source. @param before null before its first read */
  source(before: SourceStatus | null, after: SourceStatus): void;
  /** Called around an event. */
  state(before: NodeState, after: NodeState): void;
}

/** Checks that fail with their source; the source logs it first and with more detail. */
const LOGGED_BY_SOURCE = new Set(['metadata', 'ecs-agent']);

/** Logs changes of sources, notices and checks, not each result. */
export function createObserveLog(log: Logger): ObserveLog {
  return {
    source(before, { name, lastError }) {
      if (lastError !== null && !before?.lastError) log.warn(`${name}: ${lastError}`);
      if (lastError === null && before?.lastError) log.info(`${name} answers again`);
    },
    state(before, after) {
      logNotice(log, before, after);
      if (before.checks === after.checks) return;
      for (const check of after.checks) {
        if (LOGGED_BY_SOURCE.has(check.name)) continue;
        const last = before.checks.find(({ name }) => name === check.name);
        if (check.status === (last?.status ?? 'passing')) continue;
        if (check.status === 'passing') log.info(`check ${check.name} passes again`);
        else log.warn(`check ${check.name} is ${check.status}: ${check.reason}`);
      }
    },
  };
}

function logNotice(log: Logger, before: NodeState, after: NodeState): void {
  if (before.notices === after.notices) return;
  const [last, notice] = [mostUrgent(before.notices), mostUrgent(after.notices)];
  if (notice && !(last && notice.kind === last.kind && notice.action === last.action && notice.time === last.time)) {
    const what = [notice.kind, notice.action, notice.time && `at ${notice.time}`].filter(Boolean).join(' ');
    log.warn(`EC2 notice: ${what}`);
  }
  if (last && !notice) log.info(`EC2 withdrew its notice: ${last.kind}`);
}

/** For one whole read of a source; its single requests have shorter deadlines. */
const READ_DEADLINE_MS = 4_000;
/** A loop that is later than its interval by more than this is stuck. */
const LATE_MS = 30_000;

interface SourceLoops {
  readonly loops: readonly Task<null>[];
  /** Closes connections that the loops left open. */
  close(): Promise<unknown>;
}

interface SourceLoopsDependencies {
  readonly clock: Clock;
  readonly random: () => number;
  readonly monitor: LoopMonitor;
  /** The last good facts. */
  readonly facts: () => MetadataFacts | null;
  /** Called after each read; null: it brought nothing new. */
  readonly onRead: (event: NodeEvent | null, status: SourceStatus) => void;
}

/** The loops that read EC2 metadata (or the identity of an ECS Anywhere host), EC2's notices and ecs-agent. */
function createSourceLoops(config: AgentConfig, deps: SourceLoopsDependencies): SourceLoops {
  const { clock, random, monitor, facts, onRead } = deps;
  const imds = createImdsClient({ endpoint: config.metadataEndpoint, clock, allowV1: config.allowImdsV1 });
  const { identity } = config;
  const introspection = createIntrospectionReader({ endpoint: config.introspectionEndpoint, clock });
  const pace = (name: string, intervalMs: number) => ({
    name,
    intervalMs,
    deadlineMs: READ_DEADLINE_MS,
    clock,
    random,
    onStep: monitor.track(name, intervalMs + LATE_MS),
  });

  const metadataLoop: Task<null> = (signal) =>
    pollSource(
      {
        ...pace(identity.kind === 'ec2' ? 'imds' : 'host', config.metadataIntervalMs),
        async read(readSignal) {
          const external = identity.kind === 'external';
          const read = external ? await readExternal(identity, thisHost) : await readMetadata(imds, readSignal);
          const merged = mergeMetadata(facts(), read, external ? 'the SSM registration' : 'EC2 metadata');
          // The cause of a failed read says more than that its field is missing.
          const problems = read.failures.length > 0 ? [...read.failures].sort() : [merged.refused];
          return { value: merged.facts, incomplete: problems.filter((each) => each !== null).join('; ') || null };
        },
        onRead(result, status) {
          const known = 'value' in result ? result.value : facts();
          onRead({ kind: 'metadata', facts: known, error: status.lastError }, status);
        },
      },
      signal,
    );

  const noticesLoop: Task<null> = (signal) =>
    pollSource(
      {
        ...pace('notices', config.noticeIntervalMs),
        async read(readSignal) {
          const { notices, failures } = await readNotices(imds, readSignal);
          return { value: notices, incomplete: failures.join('; ') || null };
        },
        onRead(result, status) {
          onRead('value' in result ? { kind: 'notices', notices: result.value } : null, status);
        },
      },
      signal,
    );

  const introspectionLoop: Task<null> = (signal) =>
    pollSource(
      {
        ...pace('introspection', config.introspectionIntervalMs),
        read: async (readSignal) => ({ value: await introspection(readSignal), incomplete: null }),
        onRead(result, status) {
          if ('value' in result) onRead({ kind: 'ecs-agent', facts: result.value }, status);
          else onRead({ kind: 'ecs-agent-failed', error: result.error }, status);
        },
      },
      signal,
    );

  return {
    // A host outside EC2 gets no notices from EC2.
    loops: [metadataLoop, ...(identity.kind === 'ec2' ? [noticesLoop] : []), introspectionLoop],
    close: () => Promise.all([imds.close(), introspection.close()]),
  };
}

/** How long the first registration waits for the first answers, so that the record is written once. */
const FIRST_READ_LIMIT_MS = 500;
/** Sources that the first record waits for. Without them it would say of a restarted agent's node: no ARN, no notice. */
const FIRST_READS = { ec2: ['introspection', 'notices'], external: ['introspection'] };

interface NodeObserver {
  readonly loops: readonly Task<null>[];
  /** The checks of the record, in its order. */
  checks(): readonly WatchedCheck[];
  interruption(): Interruption | null;
  sources(): readonly SourceStatus[];
  /** Closes connections that the loops left open. */
  close(): Promise<unknown>;
}

interface ObserverDependencies {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly monitor: LoopMonitor;
  readonly identity: NodeIdentity;
  readonly probes: readonly Probe[];
}

/** Reads the sources of one node and runs its probes; calls `publish` with the record after each answer. */
export function observeNode(
  config: AgentConfig,
  deps: ObserverDependencies,
  publish: (record: NodeRecord) => void,
): NodeObserver {
  const { clock, random, log, monitor, identity, probes } = deps;
  const observeLog = createObserveLog(log);
  const statuses = new Map<string, SourceStatus>();
  const runs = new Map<string, CheckRuns>();
  const awaited = new Set(FIRST_READS[config.identity.kind]);
  let state: NodeState = initialNodeState;

  const offer = () => {
    const record = awaited.size === 0 ? desiredRecord(state, identity) : null;
    if (record) publish(record);
  };
  const take = (event: NodeEvent, durationMs: number | null) => {
    const result = checkResult(event);
    if (result) {
      const counted = countRun(runs.get(result.name) ?? null, result.seen, durationMs, clock.monotonicMs());
      runs.set(result.name, counted);
    }
    const before = state;
    state = reduceNode(state, event, config.checks, clock.wallMs());
    observeLog.state(before, state);
    offer();
  };

  const sources = createSourceLoops(config, {
    clock,
    random,
    monitor,
    facts: () => state.metadata,
    onRead(event, status) {
      observeLog.source(statuses.get(status.name) ?? null, status);
      statuses.set(status.name, status);
      awaited.delete(status.name);
      if (event) take(event, status.lastDurationMs);
      else offer();
    },
  });

  const probeLoops = probes.map(
    (probe, index): Task<null> =>
      (signal) => {
        const onStep = monitor.track('checks', probe.intervalMs + probe.timeoutMs + 30_000);
        const delayMs = firstRunMs(index, probes.length, probe.intervalMs);
        const onResult = (seen: Observation, durationMs: number) =>
          take({ kind: 'check', name: probe.name, seen }, durationMs);
        return runProbe({ probe, delayMs, clock, onResult, onStep }, signal);
      },
  );

  const endFirstRead: Task<null> = async (signal) => {
    await clock.sleep(FIRST_READ_LIMIT_MS, signal);
    awaited.clear();
    offer();
    // The first task to end ends its group: this one waits with the others.
    return untilAborted(signal);
  };

  return {
    loops: [...sources.loops, ...probeLoops, endFirstRead],
    checks: () =>
      state.checks.flatMap((check) => {
        const counted = runs.get(check.name);
        return counted ? [{ check, runs: counted }] : [];
      }),
    interruption: () => mostUrgent(state.notices),
    sources: () => [...statuses.values()],
    close: sources.close,
  };
}
