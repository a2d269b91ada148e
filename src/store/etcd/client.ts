import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import { BodyTooLargeError, boundedRequest, type HttpPool } from '../../lib/http-client.ts';
import { StoreError } from '../errors.ts';
import type { EtcdStoreConfig } from '../store-url.ts';
import {
  type EtcdContext,
  GatewayRefusal,
  isTokenRefusal,
  type JsonObject,
  judge,
  parseAnswer,
  textField,
  type Verdict,
} from './errors.ts';

export interface Endpoint {
  /** Its origin, such as `https://10.0.0.1:2379`. */
  readonly url: string;
  readonly pool: HttpPool;
  /** The same origin over HTTP/2, for gRPC. */
  readonly grpcPool: HttpPool;
}

export interface Attempts {
  /** Sent twice it does no harm: it may go to another endpoint even when this one may have carried it out. */
  readonly repeatable: boolean;
  /** Only here, for a call that belongs to a stream of this endpoint. */
  readonly only?: Endpoint;
}

export interface Endpoints {
  /**
   * Tries `work` at the endpoint that worked last, then once at each of the others, within the request deadline in
   * total; each attempt gets an even share of the time left, so that one that hangs leaves some for the rest.
   * @throws StoreError that says what happened at each, or the reason of `signal`
   */
  attempt<T>(how: Attempts, signal: AbortSignal, work: (at: Endpoint, signal: AbortSignal) => Promise<T>): Promise<T>;
  /** Later calls start at another endpoint than this one. */
  avoid(endpoint: Endpoint): void;
}

export interface EndpointsDeps {
  readonly clock: Clock;
  /** Where to start, so that a fleet does not lean on the first endpoint of its list. */
  readonly random: () => number;
  readonly requestTimeoutMs: number;
  readonly context: EtcdContext;
}

export function openEndpoints(all: readonly Endpoint[], deps: EndpointsDeps): Endpoints {
  const { clock, requestTimeoutMs, context } = deps;
  let current = Math.min(Math.floor(deps.random() * all.length), all.length - 1);

  const avoid = (endpoint: Endpoint) => {
    if (all[current] === endpoint) current = (current + 1) % all.length;
  };

  return {
    avoid,
    attempt: async (how, signal, work) => {
      const untilMs = clock.monotonicMs() + requestTimeoutMs;
      const round = how.only ? [how.only] : [...all.slice(current), ...all.slice(0, current)];
      const failed: Verdict[] = [];
      for (const [index, endpoint] of round.entries()) {
        const shareMs = (untilMs - clock.monotonicMs()) / (round.length - index);
        // Only the last one's share can be used up; a request that is sent just to be cut off helps nobody.
        if (shareMs < 1) break;
        try {
          const result = await withDeadline(clock, shareMs, signal, endpoint.url, (shareSignal) =>
            work(endpoint, shareSignal),
          );
          if (!how.only) current = all.indexOf(endpoint);
          return result;
        } catch (thrown) {
          signal.throwIfAborted();
          const verdict = judge(thrown, endpoint.url, context);
          failed.push(verdict);
          if (!verdict.elsewhere) throw verdict.error;
          avoid(endpoint);
          if (!how.repeatable && !verdict.unsent) break;
        }
      }
      throw joined(failed);
    },
  };
}

function joined(failed: readonly Verdict[]): StoreError {
  const errors = failed.map((verdict) => verdict.error);
  const [first] = errors;
  if (first && errors.length === 1) return first;
  return new StoreError(errors.map((error) => error.message).join('; '), {
    retryable: errors.some((error) => error.retryable),
    cause: first?.cause,
  });
}

/** The token that all calls of one store share. */
export interface AuthTokens {
  /** The token, or null when there is none to send. Callers that come while one is being fetched wait for the same. */
  get(endpoint: Endpoint): Promise<string | null>;
  /** etcd refused this token; the next `get` fetches another. */
  drop(token: string | null): void;
}

/** @param fetchToken asks one endpoint, within a deadline of its own; null where authentication is not enabled */
export function authTokens(fetchToken: (endpoint: Endpoint) => Promise<string | null>): AuthTokens {
  let held: { readonly token: string | null } | null = null;
  // One flight per endpoint: a caller that gave up on one that hangs must not wait for it again at the next.
  const flights = new Map<Endpoint, Promise<string | null>>();

  const fetchOnce = (endpoint: Endpoint) => {
    const flight = fetchToken(endpoint)
      .then((token) => {
        held = { token };
        return token;
      })
      .finally(() => flights.delete(endpoint));
    flights.set(endpoint, flight);
    return flight;
  };

  return {
    get: async (endpoint) => (held ? held.token : (flights.get(endpoint) ?? fetchOnce(endpoint))),
    drop: (token) => {
      // A caller that was slow to notice must not throw away the token that another fetched meanwhile.
      if (held?.token === token) held = null;
    },
  };
}

/** The most of one answer that is read, in bytes: ten times etcd's largest value. */
export const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

interface GatewayCall {
  /** Such as `/v3/kv/range`. */
  readonly path: string;
  /** JSON with keys and values in base64 and 64-bit numbers as text. */
  readonly body: unknown;
  /** Sent twice it does no harm. */
  readonly repeatable: boolean;
  /** Ask this endpoint and no other. */
  readonly only?: Endpoint;
}

/** @param headers show who we are */
type GatewayWork<T> = (
  endpoint: Endpoint,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
) => Promise<T>;

/** etcd's JSON gateway, with failover and authentication. */
export interface Gateway {
  readonly endpoints: Endpoints;
  /** Runs `work` at an endpoint, and at others where that may help. @throws StoreError, or the reason of `signal` */
  run<T>(how: Attempts, signal: AbortSignal, work: GatewayWork<T>): Promise<T>;
  /** @throws StoreError, or the reason of `signal` */
  call<T>(call: GatewayCall, signal: AbortSignal, parse: (answer: JsonObject) => T): Promise<T>;
  /** Runs `work` with the headers that show who we are, and once more with a new token when etcd refuses the one it had. */
  withToken<T>(endpoint: Endpoint, work: (headers: Readonly<Record<string, string>>) => Promise<T>): Promise<T>;
}

export function openGateway(
  all: readonly Endpoint[],
  credentials: EtcdStoreConfig['credentials'],
  deps: EndpointsDeps,
): Gateway {
  const endpoints = openEndpoints(all, deps);
  const tokens: AuthTokens | null = credentials
    ? authTokens((endpoint) =>
        // Not the signal of whoever came first: others wait for the same token.
        withDeadline(deps.clock, deps.requestTimeoutMs, new AbortController().signal, endpoint.url, (signal) =>
          authenticate(endpoint, credentials, signal),
        ),
      )
    : null;

  const withToken: Gateway['withToken'] = async (endpoint, work) => {
    if (tokens === null) return work({});
    const token = await tokens.get(endpoint);
    try {
      return await work(tokenHeaders(token));
    } catch (error) {
      if (!(error instanceof GatewayRefusal) || !isTokenRefusal(error)) throw error;
      tokens.drop(token);
      return work(tokenHeaders(await tokens.get(endpoint)));
    }
  };

  const run: Gateway['run'] = (how, signal, work) =>
    endpoints.attempt(how, signal, (endpoint, attemptSignal) =>
      withToken(endpoint, (headers) => work(endpoint, headers, attemptSignal)),
    );

  return {
    endpoints,
    withToken,
    run,
    call: ({ path, body, ...how }, signal, parse) =>
      run(how, signal, async (endpoint, headers, attemptSignal) =>
        parse(await post(endpoint, path, body, headers, attemptSignal)),
      ),
  };
}

async function authenticate(
  endpoint: Endpoint,
  credentials: { readonly user: string; readonly password: string },
  signal: AbortSignal,
): Promise<string | null> {
  const body = { name: credentials.user, password: credentials.password };
  try {
    return textField(await post(endpoint, '/v3/auth/authenticate', body, {}, signal), 'token');
  } catch (error) {
    // As etcd's own client does: credentials that are not asked for are no reason to stay away.
    if (error instanceof GatewayRefusal && error.message.includes('authentication is not enabled')) return null;
    throw error;
  }
}

function tokenHeaders(token: string | null): Readonly<Record<string, string>> {
  return token === null ? {} : { authorization: token };
}

/** One unary call of the gateway. @throws GatewayRefusal, or what happened on the wire */
export async function post(
  endpoint: Endpoint,
  path: string,
  body: unknown,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<JsonObject> {
  const response = await boundedRequest(endpoint.pool, {
    method: 'POST',
    path,
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
    maxBytes: MAX_ANSWER_BYTES,
    signal,
  });
  return parseAnswer(response.status, response.text);
}

/**
 * The lines of a streamed answer, none longer than `maxBytes`. Reads on only when the next line is asked for.
 * @throws BodyTooLargeError, or what the stream fails with
 */
export async function* jsonLines(chunks: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<string, void, void> {
  let parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, start)) {
      parts.push(chunk.subarray(start, end));
      if (sizeBytes + end - start > maxBytes) throw new BodyTooLargeError(maxBytes);
      yield Buffer.concat(parts).toString('utf8');
      parts = [];
      sizeBytes = 0;
      start = end + 1;
    }
    parts.push(chunk.subarray(start));
    sizeBytes += chunk.length - start;
    if (sizeBytes > maxBytes) throw new BodyTooLargeError(maxBytes);
  }
}
