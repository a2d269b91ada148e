import type { Clock } from '../lib/clock.ts';
import type { LoopMonitor, Task } from '../lib/run-group.ts';
import { readExternal, thisHost } from '../sources/external-instance.ts';
import { createImdsClient } from '../sources/imds.ts';
import { createIntrospectionReader } from '../sources/introspection.ts';
import { type KnownMetadata, mergeMetadata, readMetadata } from '../sources/metadata.ts';
import { readNotices } from '../sources/notices.ts';
import { pollSource, type SourceStatus } from '../sources/poll-source.ts';
import type { AgentConfig } from './agent-config.ts';
import type { NodeEvent } from './node-state.ts';

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
  readonly facts: () => KnownMetadata | null;
  /** Called after each read. */
  readonly onRead: (event: NodeEvent, status: SourceStatus) => void;
}

/** The loops that read EC2 metadata (or the identity of an ECS Anywhere host), EC2's notices and ecs-agent. */
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
          const source = external ? 'the SSM registration' : 'EC2 metadata';
          const merged = mergeMetadata(facts(), read, source);
          // Every instance has one, so that there is none is no fact but an answer that lacks it, also at the first read.
          const lacking = merged.facts && !merged.facts.privateIpAddress ? `${source} has no private address` : null;
          // The cause of a failed read says more than that its field is missing.
          const problems = read.failures.length > 0 ? read.failures : [merged.refused ?? lacking];
          const incomplete = problems.filter((each) => each !== null).join('; ') || null;
          return { value: merged.facts, incomplete, notes: read.notes };
        },
        onRead(result, status) {
          const known = 'value' in result ? result.value : facts();
          onRead({ kind: 'metadata', facts: known, error: status.lastError, clockSkewMs: imds.clockSkewMs() }, status);
        },
      },
      signal,
    );

  const noticesLoop: Task<null> = (signal) =>
    pollSource(
      {
        ...pace('notices', config.noticeIntervalMs),
        async read(readSignal) {
          const { notices, failures, notes } = await readNotices(imds, readSignal);
          return { value: notices, incomplete: failures.join('; ') || null, notes };
        },
        onRead(result, status) {
          const notices = 'value' in result ? result.value : {};
          onRead({ kind: 'notices', notices, error: status.lastError }, status);
        },
      },
      signal,
    );

  const introspectionLoop: Task<null> = (signal) =>
    pollSource(
      {
        ...pace('introspection', config.introspectionIntervalMs),
        async read(readSignal) {
          const value = await introspection(readSignal);
          const notes = value.agentVersion === null ? ['the version of ecs-agent cannot be read'] : [];
          return { value, incomplete: null, notes };
        },
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
