import type { Clock } from '../lib/clock.ts';
import { type BoundedResponse, boundedRequest, openHttpPool } from '../lib/http-client.ts';
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

/** The longest TTL that IMDS grants: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html */
const TOKEN_TTL_SECONDS = 21_600;

/** How long IMDSv1 is used before IMDSv2 is tried again. */
const V1_TTL_MS = 300_000;

/** The headers that authorize a read: an IMDSv2 token, or none for IMDSv1. Instants are on the monotonic clock. */
interface SessionToken {
  readonly headers: Readonly<Record<string, string>>;
  /** From this instant on a new token is requested, while this one still works. */
  readonly renewAtMs: number;
  readonly expiresAtMs: number;
}

/** Statuses by which a service without IMDSv2 refuses the token request; the AWS SDKs fall back to IMDSv1 on the same ones. */
const V2_NOT_OFFERED = new Set([403, 404, 405, 501]);

/**
 * Parses the answer to `PUT /latest/api/token`.
 * @param askedAtMs when the request was sent; the token cannot be older than that
 * @throws SourceError; its message never contains the answer's text, which may be a token
 */
function tokenFromAnswer(answer: BoundedResponse, askedAtMs: number, allowV1: boolean): SessionToken {
  if (answer.status === 200) {
    const token = answer.text.trim();
    // A captive portal or a proxy answers with an HTML page and status 200; that text must not become a header.
    if (!/^[\w+/=.~-]{1,1024}$/.test(token)) {
      throw new SourceError(
        'IMDS token: the answer is not a token, so it does not come from IMDS; check --metadata-endpoint',
        {
          unreachable: true,
        },
      );
    }
    return sessionToken({ 'x-aws-ec2-metadata-token': token }, askedAtMs, grantedTtlMs(answer));
  }
  if (!V2_NOT_OFFERED.has(answer.status)) {
    throw new SourceError(`IMDS token: HTTP ${answer.status}`, { unreachable: true });
  }
  if (allowV1) return sessionToken({}, askedAtMs, V1_TTL_MS);
  throw new SourceError(
    `IMDS token: HTTP ${answer.status}: IMDSv2 is not available and IMDSv1 is not allowed; enable the metadata service, or set --allow-imds-v1`,
    { unreachable: true },
  );
}

function sessionToken(headers: Readonly<Record<string, string>>, askedAtMs: number, ttlMs: number): SessionToken {
  return { headers, renewAtMs: askedAtMs + (ttlMs * 5) / 6, expiresAtMs: askedAtMs + ttlMs };
}

/** IMDS sends the TTL back in a header. An emulator may grant a shorter one, or send no header. */
function grantedTtlMs(answer: BoundedResponse): number {
  const echoed = Number(answer.headers['x-aws-ec2-metadata-token-ttl-seconds'] ?? TOKEN_TTL_SECONDS);
  const seconds = echoed >= 1 && echoed <= TOKEN_TTL_SECONDS ? echoed : TOKEN_TTL_SECONDS;
  return seconds * 1_000;
}

interface TokenCache {
  /** The cached token, or a new one. A token past `renewAtMs` is still returned while the next one is fetched. */
  current(): Promise<SessionToken>;
  /** The service refused this token: the next `current` fetches another. */
  drop(refused: SessionToken): void;
}

/** Caches one token; concurrent callers share one `fetch`. @param fetch must have its own deadline */
function createTokenCache(clock: Clock, fetch: () => Promise<SessionToken>): TokenCache {
  let cached: SessionToken | null = null;
  let fetching: Promise<SessionToken> | null = null;

  const renew = (): Promise<SessionToken> => {
    fetching ??= fetch().then(
      (token) => {
        fetching = null;
        cached = token;
        return token;
      },
      (error: unknown) => {
        fetching = null;
        throw error;
      },
    );
    return fetching;
  };

  return {
    current: async () => {
      const nowMs = clock.monotonicMs();
      if (cached === null || nowMs >= cached.expiresAtMs) return renew();
      // The old token still works, so a failed renewal is not an error: the next read tries again, until the token expires.
      if (nowMs >= cached.renewAtMs) renew().catch(() => {});
      return cached;
    },
    drop: (refused) => {
      // Several reads may be refused at once. A read with an older token must not drop the new one.
      if (cached === refused) cached = null;
    },
  };
}
