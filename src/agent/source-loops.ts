import type { AgentConfig } from '../config/agent-config.ts';
import type { LoopMonitor } from '../lifecycle/loop-monitor.ts';
import type { Task } from '../lifecycle/run-group.ts';
import type { MetadataFacts } from '../record/facts.ts';
import { createImdsClient } from '../sources/imds-client.ts';
import { mergeMetadata } from '../sources/merge-metadata.ts';
import { pollSource, type SourceStatus } from '../sources/poll-source.ts';
import { readExternal } from '../sources/read-external.ts';
import { createIntrospectionReader } from '../sources/read-introspection.ts';
import { readMetadata } from '../sources/read-metadata.ts';
import { readNotices } from '../sources/read-notices.ts';
import { thisHost } from '../sources/this-host.ts';
import type { Clock } from '../timing/clock.ts';
import type { NodeEvent } from './node-state.ts';

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
