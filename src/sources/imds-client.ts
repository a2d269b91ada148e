import { type BoundedResponse, boundedRequest } from '../net/bounded-request.ts';
import { openHttpPool } from '../net/http-pool.ts';
import type { Clock } from '../timing/clock.ts';
import { type ImdsPass, passFromAnswer, TOKEN_TTL_SECONDS } from './imds-pass.ts';
import { createImdsPasses } from './imds-passes.ts';
import { readWithin } from './read-within.ts';
import { SourceError } from './source-error.ts';

const MAX_BODY_BYTES = 65_536;

export interface ImdsClientOptions {
  /** An origin such as `http://169.254.169.254`; a path in it is ignored. */
  readonly endpoint: string;
  readonly clock: Clock;
  /** Whether to read without a token where the service answers that it has no IMDSv2. A silent service never leads there. */
  readonly allowV1: boolean;
  /** Limit of one `get`, the token it may need included. */
  readonly timeoutMs?: number;
}

export interface ImdsClient {
  /** `host:port`, for messages. */
  readonly hostPort: string;
  /**
   * The text at `/latest/<path>`, or null where IMDS has no such thing for this node (404): no data is not a failure.
   * @throws SourceError, or the signal's reason
   */
  get(path: string, signal: AbortSignal, timeoutMs?: number): Promise<string | null>;
  /** Ends all connections and reads. */
  close(): Promise<void>;
}

/** EC2 instance metadata, IMDSv2: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html */
export function createImdsClient(options: ImdsClientOptions): ImdsClient {
  const { clock, allowV1, timeoutMs: defaultTimeoutMs = 1_000 } = options;
  const endpoint = new URL(options.endpoint);
  const hostPort = `${endpoint.hostname}:${endpoint.port || 80}`;
  // Shorter than the read, so that "nothing there at all" can be told from "the answer to the PUT got lost".
  const pool = openHttpPool(endpoint.origin, { connections: 4, connectTimeoutMs: defaultTimeoutMs * 0.75 });
  // Shorter too: a read that gave up together with its token request would leave the next read to join the lost one.
  const tokenTimeoutMs = defaultTimeoutMs * 0.9;
  const lifetime = new AbortController();
  const read = { clock, hostPort, refusedMeans: 'no EC2 metadata service there' };

  const passes = createImdsPasses(clock, async () => {
    const askedAtMs = clock.monotonicMs();
    // Under the client's own lifetime: the reader that asked first may give up while others still wait.
    const limits = { timeoutMs: tokenTimeoutMs, signal: lifetime.signal };
    const within = {
      ...read,
      ...limits,
      action: 'IMDS token',
      onSilence: () => tokenSilence(hostPort, tokenTimeoutMs),
    };
    const answer = await readWithin(within, (signal) => {
      const headers = { 'x-aws-ec2-metadata-token-ttl-seconds': String(TOKEN_TTL_SECONDS) };
      return boundedRequest(pool, { method: 'PUT', path: '/latest/api/token', headers, maxBytes: 4_096, signal });
    });
    return passFromAnswer(answer, askedAtMs, allowV1);
  });

  return {
    hostPort,
    get: (path, signal, timeoutMs = defaultTimeoutMs) => {
      let waitsForPass = true;
      const onSilence = () => (waitsForPass ? tokenSilence(hostPort, timeoutMs) : null);
      return readWithin({ ...read, action: `IMDS ${path}`, timeoutMs, signal, onSilence }, async (inner) => {
        for (let attempt = 1; ; attempt += 1) {
          const pass = await passes.current();
          inner.throwIfAborted();
          waitsForPass = false;
          const request = { path: `/latest/${path}`, headers: pass.headers, maxBytes: MAX_BODY_BYTES, signal: inner };
          const answer = await boundedRequest(pool, { method: 'GET', ...request });
          if (answer.status !== 401 || attempt === 2) return textOf(path, answer, pass);
          // The token ended before its time: the instance was restored, or its metadata options changed. Once is enough.
          passes.drop(pass);
          waitsForPass = true;
        }
      });
    },
    close: async () => {
      lifetime.abort(new SourceError(`IMDS at ${hostPort}: the client is closed`, { unreachable: true }));
      await pool.destroy();
    },
  };
}

/** What a lost token answer looks like from here: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-options.html */
function tokenSilence(hostPort: string, timeoutMs: number): SourceError {
  return new SourceError(
    `IMDS token at ${hostPort}: no answer within ${timeoutMs} ms: from a bridged container a hop limit of 1 loses it; run with --net=host or set a hop limit of 2`,
    { unreachable: true },
  );
}

function textOf(path: string, answer: BoundedResponse, pass: ImdsPass): string | null {
  if (answer.status === 404) return null;
  if (answer.status !== 200) throw new SourceError(`IMDS ${path}: HTTP ${answer.status}`);
  // Parsers quote what they refuse; a proxy's debug page that repeats our headers must not carry the token into a log.
  if (Object.values(pass.headers).some((secret) => answer.text.includes(secret))) {
    throw new SourceError(`IMDS ${path}: the answer repeats the session token; something else answers at this address`);
  }
  return answer.text;
}
