import type { Clock } from '../lib/clock.ts';
import { type BoundedResponse, boundedRequest, openHttpPool } from '../lib/http-client.ts';
import { createTokenCache, type SessionToken, TOKEN_TTL_SECONDS, tokenFromAnswer } from './imds-token.ts';
import { readWithin, SourceError } from './source-error.ts';

const MAX_BODY_BYTES = 65_536;

interface ImdsClientOptions {
  /** An origin such as `http://169.254.169.254`; a path in it is ignored. */
  readonly endpoint: string;
  readonly clock: Clock;
  /** True: read without a token (IMDSv1) if the service answers that it has no IMDSv2. No answer is not such an answer. */
  readonly allowV1: boolean;
  /** Deadline of one `get`, including the token request it may need; default 1000. */
  readonly timeoutMs?: number;
}

export interface ImdsClient {
  /** `host:port`, for messages. */
  readonly hostPort: string;
  /**
   * The text at `/latest/<path>`; null if this instance has no such value (404), which is not a failure.
   * @throws SourceError, or the signal's reason
   */
  get(path: string, signal: AbortSignal, timeoutMs?: number): Promise<string | null>;
  /** By how much this host's clock is ahead of that of the service's newest answer; null: no answer had a `Date`. */
  clockSkewMs(): number | null;
  /** Closes all connections and aborts the reads in progress. */
  close(): Promise<void>;
}

/** EC2 instance metadata, IMDSv2: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html */
export function createImdsClient(options: ImdsClientOptions): ImdsClient {
  const { clock, allowV1, timeoutMs: defaultTimeoutMs = 1_000 } = options;
  const endpoint = new URL(options.endpoint);
  const hostPort = `${endpoint.hostname}:${endpoint.port || 80}`;
  // Shorter than the read, so that a failed connection is reported as such and not as a lost token answer.
  const pool = openHttpPool(endpoint.origin, { connections: 4, connectTimeoutMs: defaultTimeoutMs * 0.75 });
  // Shorter than the read too: if both ended together, the next read would join the token request that is already lost.
  const tokenTimeoutMs = defaultTimeoutMs * 0.9;
  const lifetime = new AbortController();
  let clockSkewMs: number | null = null;
  const noteDate = ({ headers: { date } }: BoundedResponse) => {
    const dateMs = typeof date === 'string' ? Date.parse(date) : Number.NaN;
    if (!Number.isNaN(dateMs)) clockSkewMs = clock.wallMs() - dateMs;
  };
  const read = { clock, hostPort, refusedMeans: 'no EC2 metadata service listens there' };

  const tokens = createTokenCache(clock, async () => {
    const askedAtMs = clock.monotonicMs();
    // Not the signal of one read: that read may be aborted while others still wait for the same token.
    const limits = { timeoutMs: tokenTimeoutMs, signal: lifetime.signal };
    const within = {
      ...read,
      ...limits,
      action: 'IMDS token',
      onTimeout: () => lostTokenError(hostPort, tokenTimeoutMs),
    };
    const answer = await readWithin(within, (signal) => {
      const headers = { 'x-aws-ec2-metadata-token-ttl-seconds': String(TOKEN_TTL_SECONDS) };
      return boundedRequest(pool, { method: 'PUT', path: '/latest/api/token', headers, maxBytes: 4_096, signal });
    });
    return tokenFromAnswer(answer, askedAtMs, allowV1);
  });

  return {
    hostPort,
    clockSkewMs: () => clockSkewMs,
    get: (path, signal, timeoutMs = defaultTimeoutMs) => {
      let waitsForToken = true;
      const onTimeout = () => (waitsForToken ? lostTokenError(hostPort, timeoutMs) : null);
      return readWithin({ ...read, action: `IMDS ${path}`, timeoutMs, signal, onTimeout }, async (inner) => {
        for (let attempt = 1; ; attempt += 1) {
          const token = await tokens.current();
          inner.throwIfAborted();
          waitsForToken = false;
          const request = { path: `/latest/${path}`, headers: token.headers, maxBytes: MAX_BODY_BYTES, signal: inner };
          const answer = await boundedRequest(pool, { method: 'GET', ...request });
          noteDate(answer);
          if (answer.status !== 401 || attempt === 2) return textOf(path, answer, token);
          // The token ended early (instance restored, metadata options changed). Try one new token, then report the 401.
          tokens.drop(token);
          waitsForToken = true;
        }
      });
    },
    close: async () => {
      lifetime.abort(new SourceError(`IMDS at ${hostPort}: the client is closed`, { unreachable: true }));
      await pool.destroy();
    },
  };
}

/** A hop limit of 1 drops the token answer on a bridge, so the request only times out: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-options.html */
function lostTokenError(hostPort: string, timeoutMs: number): SourceError {
  return new SourceError(
    `IMDS token at ${hostPort}: no answer within ${timeoutMs} ms; in a bridged container a hop limit of 1 drops the answer: run with --net=host or set the hop limit to 2`,
    { unreachable: true },
  );
}

function textOf(path: string, answer: BoundedResponse, token: SessionToken): string | null {
  if (answer.status === 404) return null;
  if (answer.status !== 200) throw new SourceError(`IMDS ${path}: HTTP ${answer.status}`);
  // Parsers quote the text they refuse, so a proxy's debug page that echoes the request headers would put the token into a log.
  if (Object.values(token.headers).some((secret) => answer.text.includes(secret))) {
    throw new SourceError(
      `IMDS ${path}: the answer contains the session token, so it comes from a proxy and not from IMDS; check --metadata-endpoint`,
    );
  }
  return answer.text;
}
