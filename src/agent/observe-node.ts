import { type CheckRuns, countRun, type Observation, type WatchedCheck } from '../checks/check.ts';
import type { Probe } from '../checks/probe.ts';
import { firstRunMs, runProbe } from '../checks/run-probes.ts';
import { untilAborted } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { LoopMonitor, Task } from '../lib/run-group.ts';
import type { Interruption, NodeRecord } from '../record/record.ts';
import type { SourceStatus } from '../sources/poll-source.ts';
import type { AgentConfig } from './agent-config.ts';
import {
  checkResult,
  desiredRecord,
  initialNodeState,
  type NodeEvent,
  type NodeIdentity,
  type NodeState,
  publishedChecks,
  publishedInterruption,
  reduceNode,
} from './node-state.ts';
import { createObserveLog } from './observe-log.ts';
import { createSourceLoops } from './source-loops.ts';

/** How long the first registration waits for the first answers, so that the record is written once. */
const FIRST_READ_LIMIT_MS = 500;
/** Sources that the first record waits for. Without them it would say of a restarted agent's node: no ARN, no notice. */
const FIRST_READS = { ec2: ['introspection', 'notices'], external: ['introspection'] };

/** What the continuous audit says of this node. */
const CONNECTION_CHECK = 'ecs-connection';
/** The checks of the sources. */
const SOURCE_CHECKS = { ec2: ['metadata', 'ecs-agent', 'notices'], external: ['metadata', 'ecs-agent'] };

interface NodeObserver {
  readonly loops: readonly Task<null>[];
  /** The checks of the record, in its order. */
  checks(): readonly WatchedCheck[];
  interruption(): Interruption | null;
  /** Takes in the node's record as an earlier agent wrote it, if there is one, and calls `publish`. */
  recall(record: NodeRecord | null): void;
  /** Takes in a result of the check `ecs-connection`, and calls `publish`. null: there is no such check. */
  observeConnection(seen: Observation | null): void;
  sources(): readonly SourceStatus[];
  /** Closes connections that the loops left open. */
  close(): Promise<unknown>;
}

interface ObserverDependencies {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
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
  const observeLog = createObserveLog(log, identity);
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
      take(event, status.lastDurationMs);
    },
  });

  const probeLoops = probes.map(
    (probe, index): Task<null> =>
      (signal) => {
        const onStep = monitor.track('checks', probe.intervalMs + probe.timeoutMs + 30_000);
        const delayMs = firstRunMs(index, probes.length, probe.intervalMs);
        const { fall } = config.checks;
        const onResult = (seen: Observation, durationMs: number) =>
          take({ kind: 'check', name: probe.name, seen }, durationMs);
        return runProbe({ probe, delayMs, fall, clock, onResult, onStep }, signal);
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
      publishedChecks(state, identity).flatMap((check) => {
        const counted = runs.get(check.name);
        return counted ? [{ check, runs: counted }] : [];
      }),
    interruption: () => publishedInterruption(state, identity),
    recall(record) {
      const audited = config.audit ? [CONNECTION_CHECK] : [];
      const checks = [...SOURCE_CHECKS[config.identity.kind], ...audited, ...probes.map(({ name }) => name)];
      take({ kind: 'last-record', record, checks }, null);
    },
    observeConnection: (seen) =>
      take(
        seen === null
          ? { kind: 'check-ended', name: CONNECTION_CHECK }
          : { kind: 'check', name: CONNECTION_CHECK, seen, isSettled: true },
        null,
      ),
    sources: () => [...statuses.values()],
    close: sources.close,
  };
}
