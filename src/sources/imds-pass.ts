import type { BoundedResponse } from '../net/bounded-request.ts';
import { SourceError } from './source-error.ts';

/** The longest life IMDS grants a token: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html */
export const TOKEN_TTL_SECONDS = 21_600;

/** How long IMDSv1 is used before IMDSv2 is tried again. */
const V1_TTL_MS = 300_000;

/** What lets a read in: headers with a token, or none where IMDSv1 is in use. Instants are on the monotonic clock. */
export interface ImdsPass {
  readonly headers: Readonly<Record<string, string>>;
  /** From here on a new one should be asked for; this one still works. */
  readonly renewAtMs: number;
  readonly expiresAtMs: number;
}

/** Answers to the token request with which services without IMDSv2 refuse it; the AWS SDKs fall back on the same. */
const V2_NOT_OFFERED = new Set([403, 404, 405, 501]);

/**
 * What the answer to `PUT /latest/api/token` gives.
 * @param askedAtMs when the request was sent: the token's life cannot have begun earlier
 * @throws SourceError, which never holds the answer's text: it may be a token
 */
export function passFromAnswer(answer: BoundedResponse, askedAtMs: number, allowV1: boolean): ImdsPass {
  if (answer.status === 200) {
    const token = answer.text.trim();
    // A page of a captive portal or a proxy comes with status 200 too, and must not be sent as a header.
    if (!/^[\w+/=.~-]{1,1024}$/.test(token)) {
      throw new SourceError('IMDS token: the answer is not a token; something else answers at this address', {
        unreachable: true,
      });
    }
    return passFor({ 'x-aws-ec2-metadata-token': token }, askedAtMs, grantedTtlMs(answer));
  }
  if (!V2_NOT_OFFERED.has(answer.status)) {
    throw new SourceError(`IMDS token: HTTP ${answer.status}`, { unreachable: true });
  }
  if (allowV1) return passFor({}, askedAtMs, V1_TTL_MS);
  throw new SourceError(
    `IMDS token: HTTP ${answer.status}: IMDSv2 is not offered, IMDSv1 is not allowed; enable the metadata service or allow IMDSv1`,
    { unreachable: true },
  );
}

function passFor(headers: Readonly<Record<string, string>>, askedAtMs: number, ttlMs: number): ImdsPass {
  return { headers, renewAtMs: askedAtMs + (ttlMs * 5) / 6, expiresAtMs: askedAtMs + ttlMs };
}

/** IMDS echoes the TTL in a header. An emulator may grant less than asked, or send no header. */
function grantedTtlMs(answer: BoundedResponse): number {
  const echoed = Number(answer.headers['x-aws-ec2-metadata-token-ttl-seconds'] ?? TOKEN_TTL_SECONDS);
  const seconds = echoed >= 1 && echoed <= TOKEN_TTL_SECONDS ? echoed : TOKEN_TTL_SECONDS;
  return seconds * 1_000;
}
