import type { Clock } from '../lib/clock.ts';
import type { BoundedResponse } from '../lib/http-client.ts';
import { SourceError } from './source-error.ts';

/** The longest TTL that IMDS grants: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html */
export const TOKEN_TTL_SECONDS = 21_600;

/** How long IMDSv1 is used before IMDSv2 is tried again. */
const V1_TTL_MS = 300_000;

/** The headers that authorize a read: an IMDSv2 token, or none for IMDSv1. Instants are on the monotonic clock. */
export interface SessionToken {
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
export function tokenFromAnswer(answer: BoundedResponse, askedAtMs: number, allowV1: boolean): SessionToken {
  if (answer.status === 200) {
    const token = answer.text.trim();
    // A captive portal or a proxy answers with an HTML page and status 200; that text must not become a header.
    if (!/^[\w+/=.~-]{1,1024}$/.test(token)) {
      throw new SourceError(
        'IMDS token: the answer is not a token, so it does not come from IMDS; check --metadata-endpoint',
        { unreachable: true },
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
export function createTokenCache(clock: Clock, fetch: () => Promise<SessionToken>): TokenCache {
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
