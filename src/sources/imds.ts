import type { Clock } from '../lib/clock.ts';
import { DeadlineError, withDeadline } from '../lib/deadline.ts';
import { describeError } from '../lib/errors.ts';
import { type BoundedResponse, boundedRequest, openHttpPool } from '../lib/http-client.ts';
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

export interface ImdsPasses {
  /** The pass in use. One that nears its end still serves while its successor is fetched. */
  current(): Promise<ImdsPass>;
  /** The service refused this pass: the next `current` fetches another. */
  drop(refused: ImdsPass): void;
}

/** Keeps one pass and shares one `fetch` among all who wait for it. @param fetch bounded by a deadline of its own */
export function createImdsPasses(clock: Clock, fetch: () => Promise<ImdsPass>): ImdsPasses {
  let held: ImdsPass | null = null;
  let fetching: Promise<ImdsPass> | null = null;

  const renew = (): Promise<ImdsPass> => {
    fetching ??= fetch().then(
      (pass) => {
        fetching = null;
        held = pass;
        return pass;
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
      if (held === null || nowMs >= held.expiresAtMs) return renew();
      // A failed renewal is no failure yet: the read after this one tries again, and the last one of all will tell.
      if (nowMs >= held.renewAtMs) renew().catch(() => {});
      return held;
    },
    drop: (refused) => {
      // Of several reads refused at once only the first finds its own pass here; the others share its successor.
      if (held === refused) held = null;
    },
  };
}

export interface SourceRead {
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** What is being read, for messages: `IMDS meta-data/instance-id`. */
  readonly action: string;
  readonly hostPort: string;
  /** What a refused connection says about this source. */
  readonly refusedMeans: string;
  /** The error for an answer that did not come in time, where there is more to say than that. */
  readonly onSilence?: () => SourceError | null;
}

/**
 * Runs one HTTP read of a source under its deadline.
 * @throws SourceError for whatever went wrong on the wire, or the signal's reason
 */
export async function readWithin<T>(read: SourceRead, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { clock, timeoutMs, signal, action } = read;
  try {
    return await withDeadline(clock, timeoutMs, signal, `${action} at ${read.hostPort}`, work);
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof SourceError ? error : wireError(read, error);
  }
}

function wireError(read: SourceRead, cause: unknown): SourceError {
  const { action, hostPort } = read;
  // The cause's text is in the message already, and the innermost causes of undici only repeat it.
  if (cause instanceof DeadlineError) return read.onSilence?.() ?? new SourceError(cause.message);
  const code = errorCode(cause);
  if (code === 'ECONNREFUSED') {
    return new SourceError(`connection refused at ${hostPort}: ${read.refusedMeans}`, { unreachable: true });
  }
  if (code === 'UND_ERR_CONNECT_TIMEOUT') {
    return new SourceError(`${action}: no connection to ${hostPort}: nothing answers at this address`, {
      unreachable: true,
    });
  }
  return new SourceError(`${action} at ${hostPort}`, { cause: new Error(describeError(cause)) });
}

function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

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
