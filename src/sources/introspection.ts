import { clusterName, isContainerInstanceArn } from '../ecs/arn.ts';
import type { Clock } from '../lib/clock.ts';
import { quote } from '../lib/errors.ts';
import { boundedRequest, openHttpPool } from '../lib/http-client.ts';
import type { EcsAgentFacts } from '../record/record.ts';
import { parseObject, readWithin, SourceError } from './source-error.ts';

const ACTION = 'ecs-agent /v1/metadata';

/** `Amazon ECS Agent - v1.70.0 (*0e7482df)`; the star marks a build from a modified tree and is not part of the hash. */
const VERSION = /^Amazon ECS Agent - v(\d+\.\d+\.\d+[\w.+-]{0,40}) \(\*?(\w{1,64})\)$/;

/**
 * Parses ecs-agent's answer at `/v1/metadata`. Status 200 proves nothing: ecs-agent sends it for any path.
 * @throws SourceError if the answer has another form or an invalid value
 */
export function parseIntrospection(text: string): EcsAgentFacts {
  const answer = parseObject(ACTION, text);
  const { Cluster: cluster, ContainerInstanceArn: arn, Version: version } = answer;
  if ('AvailableCommands' in answer) {
    throw new SourceError(`${ACTION}: got the list of commands, which ecs-agent sends for an unknown path`);
  }
  if (arn !== null && !(typeof arn === 'string' && isContainerInstanceArn(arn))) {
    throw unexpected('ContainerInstanceArn', 'a container instance ARN or null', arn);
  }
  const name = typeof cluster === 'string' ? clusterName(cluster) : undefined;
  if (name === undefined) throw unexpected('Cluster', "a cluster's name or ARN", cluster);
  return { containerInstanceArn: arn, cluster: name, ...parseVersion(version) };
}

/** Nothing depends on the version, so an unreadable one becomes null and is not an error. */
function parseVersion(version: unknown): Pick<EcsAgentFacts, 'agentVersion' | 'agentHash'> {
  const match = typeof version === 'string' ? VERSION.exec(version) : null;
  const hash = match?.[2] ?? null;
  return { agentVersion: match?.[1] ?? null, agentHash: hash === 'UNKNOWN' ? null : hash };
}

function unexpected(key: string, expected: string, value: unknown): SourceError {
  return new SourceError(`${ACTION}: ${key}: expected ${expected}, got ${quote(value)}`);
}

const PATH = '/v1/metadata';
/** The answer has about 200 bytes. */
const MAX_BODY_BYTES = 65_536;

interface IntrospectionReaderOptions {
  /** An origin such as `http://127.0.0.1:51678`; a path in it is ignored. */
  readonly endpoint: string;
  readonly clock: Clock;
  /** Deadline of one read; default 1000. */
  readonly timeoutMs?: number;
}

interface IntrospectionReader {
  /** @throws SourceError, or the signal's reason */
  (signal: AbortSignal): Promise<EcsAgentFacts>;
  /** Closes all connections and aborts the reads in progress. */
  close(): Promise<void>;
}

/** ecs-agent's own HTTP API: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-introspection.html */
export function createIntrospectionReader(options: IntrospectionReaderOptions): IntrospectionReader {
  const { clock, timeoutMs = 1_000 } = options;
  const endpoint = new URL(options.endpoint);
  const hostPort = `${endpoint.hostname}:${endpoint.port || 80}`;
  // Shorter than the deadline, so that the two do not take turns in the error.
  const pool = openHttpPool(endpoint.origin, { connections: 1, connectTimeoutMs: timeoutMs * 0.75 });
  // ecs-agent opens this port only after it has registered: not registered, crashed and not installed look the same.
  const refusedMeans = 'ecs-agent is not running or not registered yet';

  const read = (signal: AbortSignal) =>
    readWithin({ clock, hostPort, timeoutMs, refusedMeans, action: `ecs-agent ${PATH}`, signal }, async (inner) => {
      const answer = await boundedRequest(pool, {
        method: 'GET',
        path: PATH,
        maxBytes: MAX_BODY_BYTES,
        signal: inner,
      });
      if (answer.status !== 200) throw new SourceError(`ecs-agent ${PATH} at ${hostPort}: HTTP ${answer.status}`);
      return parseIntrospection(answer.text);
    });
  return Object.assign(read, { close: () => pool.destroy() });
}
