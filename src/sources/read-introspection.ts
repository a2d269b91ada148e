import { boundedRequest } from '../net/bounded-request.ts';
import { openHttpPool } from '../net/http-pool.ts';
import type { EcsAgentFacts } from '../record/facts.ts';
import type { Clock } from '../timing/clock.ts';
import { parseIntrospection } from './parse-introspection.ts';
import { readWithin } from './read-within.ts';
import { SourceError } from './source-error.ts';

const PATH = '/v1/metadata';
/** The answer has some 200 bytes. */
const MAX_BODY_BYTES = 65_536;

export interface IntrospectionReaderOptions {
  /** An origin such as `http://127.0.0.1:51678`; a path in it is ignored. */
  readonly endpoint: string;
  readonly clock: Clock;
  /** Limit of one read. */
  readonly timeoutMs?: number;
}

export interface IntrospectionReader {
  /** @throws SourceError, or the signal's reason */
  (signal: AbortSignal): Promise<EcsAgentFacts>;
  /** Ends all connections and reads. */
  close(): Promise<void>;
}

/** ecs-agent's own HTTP API: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-introspection.html */
export function createIntrospectionReader(options: IntrospectionReaderOptions): IntrospectionReader {
  const { clock, timeoutMs = 1_000 } = options;
  const endpoint = new URL(options.endpoint);
  const hostPort = `${endpoint.hostname}:${endpoint.port || 80}`;
  const pool = openHttpPool(endpoint.origin, { connections: 1, connectTimeoutMs: timeoutMs });
  // The server starts only after the registration: not registered, crashed and not installed look the same from here.
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
