import type { HttpPool } from '../../net/http-pool.ts';
import type { Clock } from '../../timing/clock.ts';
import { withDeadline } from '../../timing/with-deadline.ts';
import { StoreError } from '../store-error.ts';
import type { EtcdContext } from './etcd-context.ts';
import { judge, type Verdict } from './verdict.ts';

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
