import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import type { Conversation, Headers } from './channel.ts';
import type { Endpoint, EtcdClient } from './etcd-client.ts';
import { JunkAnswerError } from './etcd-errors.ts';
import { LEASE_KEEP_ALIVE } from './rpc.ts';

/** Both give the TTL in ms that starts anew; null: the lease is gone. @throws StoreError, or the reason of `signal` */
interface LeaseRenewal {
  /** By a stream of its own. */
  renew(lease: string, signal: AbortSignal): Promise<number | null>;
  /**
   * For leases that are renewed again and again: by the stream that stays open, where there is one.
   * @param limitMs by then it has asked all the endpoints there are; default: the request deadline
   */
  heartbeat(lease: string, signal: AbortSignal, limitMs?: number): Promise<number | null>;
}

/** The one stream that stays open between heartbeats. */
interface OpenStream {
  readonly endpoint: Endpoint;
  readonly token: string | undefined;
  readonly stream: Conversation;
  /** Etcd itself has answered on it. Until then it carries no heartbeat. */
  isEtcds: boolean;
}

interface RenewalDeps {
  readonly clock: Clock;
  /** How long the first answer on a stream that is to stay open may take. */
  readonly answerLimitMs: number;
  /** Id of a lease that does not exist. */
  readonly noLease: string;
}

const NEVER = new AbortController().signal;

/**
 * A stream that stays open costs etcd and this process less than one for each heartbeat. Not through etcd's grpc-proxy,
 * which answers the second heartbeat on a stream only when its own next one is due. So each stream that is to stay open is
 * first asked to renew a lease that does not exist: etcd says 0, its proxy -1.
 */
export function createLeaseRenewal(client: EtcdClient, deps: RenewalDeps): LeaseRenewal {
  const { clock, answerLimitMs, noLease } = deps;
  const { path, request, response } = LEASE_KEEP_ALIVE;
  const question = request.encode({ id: noLease });
  const proxies = new WeakSet<Endpoint>();
  let open: OpenStream | null = null;
  /** Most heartbeats are of the same lease as the last. */
  let last = { lease: noLease, message: question };

  const messageOf = (lease: string): Buffer => {
    if (last.lease !== lease) last = { lease, message: request.encode({ id: lease }) };
    return last.message;
  };

  const ask = async (stream: Conversation, lease: string, message: Buffer, signal: AbortSignal) => {
    const bytes = await stream.ask(message, signal);
    const { id, ttl } = response.decode(bytes);
    requireAbout(lease, id);
    // Of a lease that is gone etcd says 0, its grpc-proxy -1.
    return Number(ttl) > 0 ? Number(ttl) * 1_000 : null;
  };

  const askOnce = async (
    endpoint: Endpoint,
    headers: Headers,
    lease: string,
    message: Buffer,
    signal: AbortSignal,
  ): Promise<number | null> => {
    const stream = endpoint.channel.converse(path, headers);
    try {
      return await ask(stream, lease, message, signal);
    } finally {
      stream.close();
    }
  };

  const isAt = (endpoint: Endpoint, headers: Headers) => open?.endpoint === endpoint && open.token === headers['token'];

  /** Begins a stream for the heartbeats to come. The one of now does not wait for it. */
  const prepare = async (endpoint: Endpoint, headers: Headers): Promise<void> => {
    const isInUse = open?.isEtcds && open.stream.state === 'asked'; // for another lease
    if (proxies.has(endpoint) || isInUse || (isAt(endpoint, headers) && open?.stream.state !== 'ended')) return;
    open?.stream.close();
    const stream = endpoint.channel.converse(path, headers);
    const next = { endpoint, token: headers['token'], stream, isEtcds: false };
    open = next;
    try {
      const bytes = await withDeadline(clock, answerLimitMs, NEVER, endpoint.url, (limit) =>
        stream.ask(question, limit),
      );
      const { id, ttl } = response.decode(bytes);
      next.isEtcds = id === noLease && ttl === '0';
      if (!next.isEtcds) proxies.add(endpoint);
    } finally {
      if (!next.isEtcds) stream.close();
    }
  };

  return {
    renew: (lease, signal) => {
      const message = request.encode({ id: lease });
      return client.attempt({ repeatable: true }, signal, (endpoint, headers, attemptSignal) =>
        askOnce(endpoint, headers, lease, message, attemptSignal),
      );
    },
    heartbeat: (lease, signal, limitMs) => {
      const message = messageOf(lease);
      return client.attempt({ repeatable: true, limitMs }, signal, async (endpoint, headers, attemptSignal) => {
        if (open?.isEtcds && open.stream.state === 'free' && isAt(endpoint, headers)) {
          const { stream } = open;
          const ttlMs = await ask(stream, lease, message, attemptSignal).catch((error) => {
            stream.close();
            throw error;
          });
          if (ttlMs !== null) return ttlMs;
        }
        // Also before a lease is taken for gone: then its node registers again.
        const ttlMs = await askOnce(endpoint, headers, lease, message, attemptSignal);
        prepare(endpoint, headers).catch(() => {}); // the next heartbeat tries again
        return ttlMs;
      });
    },
  };
}

/** Without it, an empty answer from something that is no etcd would read as "gone" and make a healthy node register again. */
export function requireAbout(lease: string, id: string): void {
  if (id !== lease) throw new JunkAnswerError('the answer is not about the lease that was asked for');
}
