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

export interface ObserveLog {
  /** Around a read of a source. @param before null before its first read */
  source(before: SourceStatus | null, after: SourceStatus): void;
  /** Around an event. */
  state(before: NodeState, after: NodeState): void;
}

/** Checks whose trouble is their source's, which tells it sooner and in more words. */
const TOLD_BY_SOURCE = new Set(['metadata', 'ecs-agent']);

/** Turns what was observed into few log lines: only a change of mood is worth one; the checks carry the rest. */
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
        if (TOLD_BY_SOURCE.has(check.name)) continue;
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
    log.warn(`EC2 announces ${what}`);
  }
  if (last && !notice) log.info(`EC2 took back its notice: ${last.kind}`);
}

/** Of one whole read of a source; its single requests have shorter ones. */
const READ_DEADLINE_MS = 4_000;
/** What a loop may be late beyond its interval before it is taken for a stuck one. */
const LATE_MS = 30_000;

export interface SourceLoops {
  readonly loops: readonly Task<null>[];
  /** Ends connections that the loops left open. */
  close(): Promise<unknown>;
}

interface SourceLoopsDependencies {
  readonly clock: Clock;
  readonly random: () => number;
  readonly monitor: LoopMonitor;
  /** The last good facts. */
  readonly facts: () => MetadataFacts | null;
  /** Called after each read; null: it taught nothing. */
  readonly onRead: (event: NodeEvent | null, status: SourceStatus) => void;
}

/** The loops that read EC2 metadata (or the host's own identity), EC2's notices and ecs-agent, each at its own pace. */
export function createSourceLoops(config: AgentConfig, deps: SourceLoopsDependencies): SourceLoops {
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
          // Why something could not be read says more than that it is missing.
          const complaints = read.failures.length > 0 ? [...read.failures].sort() : [merged.refused];
          return { value: merged.facts, incomplete: complaints.filter((each) => each !== null).join('; ') || null };
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
    // Only EC2 announces something, and a host of another house is not to be asked in vain.
    loops: [metadataLoop, ...(identity.kind === 'ec2' ? [noticesLoop] : []), introspectionLoop],
    close: () => Promise.all([imds.close(), introspection.close()]),
  };
}

/** How long the first registration waits for the first answers, so that it need not be written twice. */
const FIRST_LOOK_MS = 500;
/** Without these a record would say of a restarted agent's node what is not so: no ARN, no notice. */
const FIRST_LOOKS = { ec2: ['introspection', 'notices'], external: ['introspection'] };

export interface NodeObserver {
  readonly loops: readonly Task<null>[];
  /** Of the record, in its order. */
  checks(): readonly WatchedCheck[];
  interruption(): Interruption | null;
  sources(): readonly SourceStatus[];
  /** Ends connections that the loops left open. */
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

/** Reads the sources of one node and runs its probes; calls `publish` with the record they add up to, whenever one answered. */
export function observeNode(
  config: AgentConfig,
  deps: ObserverDependencies,
  publish: (record: NodeRecord) => void,
): NodeObserver {
  const { clock, random, log, monitor, identity, probes } = deps;
  const observeLog = createObserveLog(log);
  const statuses = new Map<string, SourceStatus>();
  const runs = new Map<string, CheckRuns>();
  const awaited = new Set(FIRST_LOOKS[config.identity.kind]);
  let state: NodeState = initialNodeState;

  const offer = () => {
    const record = awaited.size === 0 ? desiredRecord(state, identity) : null;
    if (record) publish(record);
  };
  const learn = (event: NodeEvent, durationMs: number | null) => {
    const look = lookOf(event);
    if (look) {
      const counted = countRun(runs.get(look.name) ?? null, look.seen, durationMs, clock.monotonicMs());
      runs.set(look.name, counted);
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
      if (event) learn(event, status.lastDurationMs);
      else offer();
    },
  });

  const probeLoops = probes.map(
    (probe, index): Task<null> =>
      (signal) => {
        const onStep = monitor.track('checks', probe.intervalMs + probe.timeoutMs + 30_000);
        const delayMs = firstRunMs(index, probes.length, probe.intervalMs);
        const onResult = (seen: Observation, durationMs: number) =>
          learn({ kind: 'check', name: probe.name, seen }, durationMs);
        return runProbe({ probe, delayMs, clock, onResult, onStep }, signal);
      },
  );

  const endFirstLook: Task<null> = async (signal) => {
    await clock.sleep(FIRST_LOOK_MS, signal);
    awaited.clear();
    offer();
    // A group's first task to end ends the group; this one has nothing more to do, so it waits with the others.
    return untilAborted(signal);
  };

  return {
    loops: [...sources.loops, ...probeLoops, endFirstLook],
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
