import type { EtcdStoreConfig } from '../../config/store-config.ts';
import { boundedRequest } from '../../net/bounded-request.ts';
import { withDeadline } from '../../timing/with-deadline.ts';
import { type AuthTokens, authTokens } from './auth-tokens.ts';
import { type Attempts, type Endpoint, type Endpoints, type EndpointsDeps, openEndpoints } from './endpoints.ts';
import { GatewayRefusal, parseAnswer } from './gateway-refusal.ts';
import { type JsonObject, textField } from './json-fields.ts';
import { isTokenRefusal } from './verdict.ts';

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
