import type { Logger } from 'pino';
import type { Observation } from '../checks/observe-check.ts';
import type { Probe } from '../checks/probe.ts';
import { firstLookMs } from '../checks/stagger.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import type { LoopMonitor } from '../lifecycle/loop-monitor.ts';
import type { Task } from '../lifecycle/run-group.ts';
import type { Interruption, NodeRecord } from '../record/record.ts';
import { mostUrgent } from '../sources/notices.ts';
import type { SourceStatus } from '../sources/poll-source.ts';
import type { Clock } from '../timing/clock.ts';
import { type CheckLooks, countLook, type WatchedCheck } from './check-looks.ts';
import {
  desiredRecord,
  initialNodeState,
  lookOf,
  type NodeEvent,
  type NodeIdentity,
  type NodeState,
  reduceNode,
} from './node-state.ts';
import { createObserveLog } from './observe-log.ts';
import { runProbe } from './run-probe.ts';
import { createSourceLoops } from './source-loops.ts';

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
  const looks = new Map<string, CheckLooks>();
  const awaited = new Set(FIRST_LOOKS[config.identity.kind]);
  let state: NodeState = initialNodeState;

  const offer = () => {
    const record = awaited.size === 0 ? desiredRecord(state, identity) : null;
    if (record) publish(record);
  };
  const learn = (event: NodeEvent, durationMs: number | null) => {
    const look = lookOf(event);
    if (look) {
      const counted = countLook(looks.get(look.name) ?? null, look.seen, durationMs, clock.monotonicMs());
      looks.set(look.name, counted);
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
        const delayMs = firstLookMs(index, probes.length, probe.intervalMs);
        const onLook = (seen: Observation, durationMs: number) =>
          learn({ kind: 'check', name: probe.name, seen }, durationMs);
        return runProbe({ probe, delayMs, clock, onLook, onStep }, signal);
      },
  );

  const endFirstLook: Task<null> = async (signal) => {
    await clock.sleep(FIRST_LOOK_MS, signal);
    awaited.clear();
    offer();
    // A group's first task to end ends the group; this one has nothing more to do, so it waits with the others.
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  };

  return {
    loops: [...sources.loops, ...probeLoops, endFirstLook],
    checks: () =>
      state.checks.flatMap((check) => {
        const counted = looks.get(check.name);
        return counted ? [{ check, looks: counted }] : [];
      }),
    interruption: () => mostUrgent(state.notices),
    sources: () => [...statuses.values()],
    close: sources.close,
  };
}
