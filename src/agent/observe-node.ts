import type { Logger } from 'pino';
import type { AgentConfig } from '../config/agent-config.ts';
import type { LoopMonitor } from '../lifecycle/loop-monitor.ts';
import type { Task } from '../lifecycle/run-group.ts';
import type { CheckVerdict, NodeRecord } from '../record/record.ts';
import { createImdsClient } from '../sources/imds-client.ts';
import { mergeMetadata } from '../sources/merge-metadata.ts';
import { pollSource, type SourceStatus } from '../sources/poll-source.ts';
import { createIntrospectionReader } from '../sources/read-introspection.ts';
import { readMetadata } from '../sources/read-metadata.ts';
import type { Clock } from '../timing/clock.ts';
import {
  desiredRecord,
  initialNodeState,
  type NodeEvent,
  type NodeIdentity,
  type NodeState,
  reduceNode,
} from './node-state.ts';

/** HAProxy's rise and fall: two good looks to recover, three bad ones in a row to believe in trouble. */
const DAMPING = { rise: 2, fall: 3 };
/** Of one whole read of a source; its single requests have shorter ones. */
const READ_DEADLINE_MS = 4_000;
/** How long the first registration waits for ecs-agent's first answer, so that it need not be written twice. */
const FIRST_LOOK_MS = 500;

export interface NodeObserver {
  readonly loops: readonly Task<null>[];
  checks(): readonly CheckVerdict[];
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
}

/** Polls the sources of one node and calls `publish` with the record they add up to, whenever they were read. */
export function observeNode(
  config: AgentConfig,
  deps: ObserverDependencies,
  publish: (record: NodeRecord) => void,
): NodeObserver {
  const { clock, random, log, monitor, identity } = deps;
  const imds = createImdsClient({ endpoint: config.metadataEndpoint, clock, allowV1: config.allowImdsV1 });
  const introspection = createIntrospectionReader({ endpoint: config.introspectionEndpoint, clock });
  const statuses = new Map<string, SourceStatus>();
  let state: NodeState = initialNodeState;
  let firstLookOver = false;

  const offer = () => {
    const record = firstLookOver ? desiredRecord(state, identity) : null;
    if (record) publish(record);
  };
  const learn = (event: NodeEvent, status: SourceStatus) => {
    const before = statuses.get(status.name);
    // Only a change of mood is worth a line; the checks carry the rest.
    if (status.lastError !== null && !before?.lastError) log.warn(`${status.name}: ${status.lastError}`);
    if (status.lastError === null && before?.lastError) log.info(`${status.name} answers again`);
    statuses.set(status.name, status);
    state = reduceNode(state, event, DAMPING, clock.wallMs());
    offer();
  };

  const metadataLoop: Task<null> = (signal) =>
    pollSource(
      {
        name: 'imds',
        intervalMs: config.metadataIntervalMs,
        deadlineMs: READ_DEADLINE_MS,
        clock,
        random,
        async read(readSignal) {
          const read = await readMetadata(imds, readSignal);
          const merged = mergeMetadata(state.metadata, read);
          // Why something could not be read says more than that it is missing.
          const complaints = read.failures.length > 0 ? [...read.failures].sort() : [merged.refused];
          return { value: merged.facts, incomplete: complaints.filter((each) => each !== null).join('; ') || null };
        },
        onRead(result, status) {
          const facts = 'value' in result ? result.value : state.metadata;
          learn({ kind: 'metadata', facts, error: status.lastError }, status);
        },
        onStep: monitor.track('imds', config.metadataIntervalMs + 30_000),
      },
      signal,
    );

  const introspectionLoop: Task<null> = (signal) =>
    pollSource(
      {
        name: 'introspection',
        intervalMs: config.introspectionIntervalMs,
        deadlineMs: READ_DEADLINE_MS,
        clock,
        random,
        read: async (readSignal) => ({ value: await introspection(readSignal), incomplete: null }),
        onRead(result, status) {
          firstLookOver = true;
          if ('value' in result) learn({ kind: 'ecs-agent', facts: result.value }, status);
          else learn({ kind: 'ecs-agent-failed', error: result.error }, status);
        },
        onStep: monitor.track('introspection', config.introspectionIntervalMs + 30_000),
      },
      signal,
    );

  const endFirstLook: Task<null> = async (signal) => {
    await clock.sleep(FIRST_LOOK_MS, signal);
    firstLookOver = true;
    offer();
    // A group's first task to end ends the group; this one has nothing more to do, so it waits with the others.
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  };

  return {
    loops: [metadataLoop, introspectionLoop, endFirstLook],
    checks: () => state.health?.checks ?? [],
    sources: () => [...statuses.values()],
    close: () => Promise.all([imds.close(), introspection.close()]),
  };
}
