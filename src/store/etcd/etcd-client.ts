import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import { StoreError } from '../store-errors.ts';
import type { EtcdStoreConfig } from '../store-url.ts';
import { type Channel, type Headers, RpcError } from './channel.ts';
import { type EtcdContext, isTokenRefusal, judge, mayBeTokensFault, type Verdict } from './etcd-errors.ts';
import { AUTHENTICATE } from './rpc.ts';

export interface Endpoint {
  /** Its origin, such as `https://10.0.0.1:2379`. */
  readonly url: string;
  readonly channel: Channel;
}

interface Attempts {
  /** Sent twice it does no harm: it may go to another endpoint even when this one may have carried it out. */
  readonly repeatable: boolean;
  /** What it needs a right for, such as `write /rollcall/v1/records/i-1`, for the message of a refusal. */
  readonly right?: string;
  /** In place of the request deadline: a heartbeat has to reach each endpoint while its lease lives. */
  readonly limitMs?: number | undefined;
  /** Only here, for a call that belongs to a stream of this endpoint. */
  readonly only?: Endpoint;
}

/** A method of one message each way. */
interface Method<Q, A> {
  readonly path: string;
  readonly request: { encode(value: Q): Buffer };
  readonly response: { decode(bytes: Buffer): A };
}

/** etcd's API with failover and authentication. */
export interface EtcdClient {
  /** @throws StoreError that says what happened at each endpoint, or the reason of `signal` */
  call<Q, A, T>(
    method: Method<Q, A>,
    request: NoInfer<Q>,
    how: Attempts,
    signal: AbortSignal,
    read: (answer: A, bytes: Buffer) => T,
  ): Promise<T>;
  /**
   * Tries `work` at the endpoint that worked last, then once at each of the others, within the deadline in
   * total; each attempt gets an even share of the time left, so that one that hangs leaves some for the rest. Where etcd
   * refuses the token, or may have hung up because of it, `work` runs once more with a new one.
   * @throws StoreError that says what happened at each endpoint, or the reason of `signal`
   */
  attempt<T>(
    how: Attempts,
    signal: AbortSignal,
    work: (endpoint: Endpoint, headers: Headers, signal: AbortSignal) => Promise<T>,
  ): Promise<T>;
  /** Later calls start at another endpoint than this one. */
  avoid(endpoint: Endpoint): void;
  /**
   * Aborts, with a retryable `StoreError`, once a call failed there and got its answer from another endpoint. For streams,
   * which learn of a member that hangs by an unanswered ping only: up to 9 s later.
   */
  untilLeft(endpoint: Endpoint): AbortSignal;
}

interface ClientDeps {
  readonly clock: Clock;
  /** Where to start, so that a fleet does not lean on the first endpoint of its list. */
  readonly random: () => number;
  readonly requestTimeoutMs: number;
  readonly context: EtcdContext;
  /** What answers at an endpoint, in a sentence; null: nothing does. */
  readonly explain: (endpoint: Endpoint, limitMs: number) => Promise<string | null>;
}

/** To ask a few endpoints for their version. May come on top of a deadline that was used up. */
const EXPLAIN_LIMIT_MS = 500;

export function openEtcdClient(
  all: readonly Endpoint[],
  credentials: EtcdStoreConfig['credentials'],
  deps: ClientDeps,
): EtcdClient {
  const { clock, requestTimeoutMs, context } = deps;
  let current = Math.min(Math.floor(deps.random() * all.length), all.length - 1);
  const tokens = credentials
    ? authTokens(clock, (endpoint) =>
        // Not the signal of the first caller: others wait for the same token.
        withDeadline(clock, requestTimeoutMs, new AbortController().signal, endpoint.url, (signal) =>
          authenticate(endpoint, credentials, signal),
        ),
      )
    : null;

  const avoid = (endpoint: Endpoint) => {
    if (all[current] === endpoint) current = (current + 1) % all.length;
  };

  const stays = new Map(all.map((endpoint) => [endpoint, new AbortController()]));
  const leave = (endpoint: Endpoint) => {
    const stay = stays.get(endpoint);
    stays.set(endpoint, new AbortController());
    stay?.abort(new StoreError(`etcd at ${endpoint.url}: a call went to another endpoint`, { retryable: true }));
  };

  const withToken = async <T>(
    tokens: AuthTokens,
    endpoint: Endpoint,
    work: (headers: Headers) => Promise<T>,
  ): Promise<T> => {
    const token = await tokens.get(endpoint);
    try {
      return await work(tokenHeaders(token));
    } catch (error) {
      if (mayBeTokensFault(error)) tokens.dropIfOld(token);
      if (!(error instanceof RpcError) || !isTokenRefusal(error)) throw error;
      tokens.drop(token);
      return work(tokenHeaders(await tokens.get(endpoint)));
    }
  };

  const attempt: EtcdClient['attempt'] = async (how, signal, work) => {
    const untilMs = clock.monotonicMs() + (how.limitMs ?? requestTimeoutMs);
    const first = current;
    const tries = how.only ? 1 : all.length;
    const failed: Failure[] = [];
    for (let index = 0; index < tries; index += 1) {
      const endpoint = how.only ?? (all[(first + index) % tries] as Endpoint);
      const shareMs = (untilMs - clock.monotonicMs()) / (tries - index);
      // Only the last one's share can be used up; a request that is cut off at once is of no use.
      if (shareMs < 1) break;
      try {
        const result = await withDeadline(clock, shareMs, signal, endpoint.url, (shareSignal) =>
          tokens === null
            ? work(endpoint, NO_HEADERS, shareSignal)
            : withToken(tokens, endpoint, (headers) => work(endpoint, headers, shareSignal)),
        );
        if (!how.only) current = all.indexOf(endpoint);
        for (const failure of failed) leave(failure.endpoint);
        return result;
      } catch (thrown) {
        signal.throwIfAborted();
        const verdict = judge(thrown, endpoint.url, context, how.right);
        failed.push({ endpoint, verdict });
        if (!verdict.elsewhere) throw verdict.error;
        avoid(endpoint);
        if (!how.repeatable && !verdict.unsent) break;
      }
    }
    throw joined(await Promise.all(failed.map((failure) => explained(failure, deps.explain))));
  };

  return {
    attempt,
    avoid,
    untilLeft: (endpoint) => (stays.get(endpoint) ?? new AbortController()).signal,
    call: ({ path, request, response }, query, how, signal, read) => {
      const message = request.encode(query);
      return attempt(how, signal, async (endpoint, headers, attemptSignal) => {
        const bytes = await endpoint.channel.call({ path }, message, headers, attemptSignal);
        return read(response.decode(bytes), bytes);
      });
    },
  };
}

interface Failure {
  readonly endpoint: Endpoint;
  readonly verdict: Verdict;
}

async function explained({ endpoint, verdict }: Failure, explain: ClientDeps['explain']): Promise<StoreError> {
  const { error, unexplained = false } = verdict;
  const explanation = unexplained ? await explain(endpoint, EXPLAIN_LIMIT_MS) : null;
  if (explanation === null) return error;
  return new StoreError(`${error.message}; ${explanation}`, { retryable: error.retryable, cause: error.cause });
}

function joined(errors: readonly StoreError[]): StoreError {
  const [first] = errors;
  if (first && errors.length === 1) return first;
  // Members behind one name often fail alike.
  return new StoreError([...new Set(errors.map((error) => error.message))].join('; '), {
    retryable: errors.some((error) => error.retryable),
    cause: first?.cause,
  });
}

/** The token that all calls of one store share. */
interface AuthTokens {
  /** The token, or null when there is none to send. Callers that come while one is being fetched wait for the same. */
  get(endpoint: Endpoint): Promise<string | null>;
  /** etcd refused this token; the next `get` fetches another. */
  drop(token: string | null): void;
  /** The same where it is not certain that the token is at fault. A new token costs etcd a password hash and a Raft proposal. */
  dropIfOld(token: string | null): void;
}

/** A token of etcd's default kind lives for five minutes after its last use. */
const OLD_TOKEN_MS = 30_000;

/** @param fetchToken asks one endpoint, within a deadline of its own; null where authentication is not enabled */
export function authTokens(
  clock: Pick<Clock, 'monotonicMs'>,
  fetchToken: (endpoint: Endpoint) => Promise<string | null>,
): AuthTokens {
  let held: { readonly token: string | null; readonly sinceMs: number } | null = null;
  // One flight per endpoint: a caller that gave up on one that hangs must not wait for it again at the next.
  const flights = new Map<Endpoint, Promise<string | null>>();

  const fetchOnce = (endpoint: Endpoint) => {
    const flight = fetchToken(endpoint)
      .then((token) => {
        held = { token, sinceMs: clock.monotonicMs() };
        return token;
      })
      .finally(() => flights.delete(endpoint));
    flights.set(endpoint, flight);
    return flight;
  };

  const drop: AuthTokens['drop'] = (token) => {
    // A caller that was slow to notice must not throw away the token that another fetched meanwhile.
    if (held?.token === token) held = null;
  };

  return {
    get: async (endpoint) => (held ? held.token : (flights.get(endpoint) ?? fetchOnce(endpoint))),
    drop,
    dropIfOld: (token) => {
      if (held && clock.monotonicMs() - held.sinceMs >= OLD_TOKEN_MS) drop(token);
    },
  };
}

async function authenticate(
  endpoint: Endpoint,
  { user, password }: { readonly user: string; readonly password: string },
  signal: AbortSignal,
): Promise<string | null> {
  try {
    const message = AUTHENTICATE.request.encode({ name: user, password });
    const answer = await endpoint.channel.call(AUTHENTICATE, message, {}, signal);
    return AUTHENTICATE.response.decode(answer).token;
  } catch (error) {
    // As etcd's own client does: credentials that are not asked for are no reason to stay away.
    if (error instanceof RpcError && error.message.includes('authentication is not enabled')) return null;
    throw error;
  }
}

const NO_HEADERS: Headers = {};

function tokenHeaders(token: string | null): Headers {
  return token === null ? NO_HEADERS : { token };
}
