import { BodyTooLargeError } from '../../net/bounded-request.ts';
import { DeadlineError } from '../../timing/with-deadline.ts';
import { CompactedError, LeaseNotFoundError, StoreError } from '../store-error.ts';
import type { EtcdContext } from './etcd-context.ts';
import { GatewayRefusal } from './gateway-refusal.ts';
import { describeWireError } from './wire-error.ts';

/** What a failed attempt at one endpoint means. */
export interface Verdict {
  readonly error: StoreError;
  /** Another endpoint may do better. */
  readonly elsewhere: boolean;
  /** It is certain that nothing was carried out. */
  readonly unsent: boolean;
}

/**
 * Judges whatever an attempt threw. The message names the endpoint and, where there is one, the next step.
 * @param url the endpoint's origin
 */
export function judge(thrown: unknown, url: string, context: EtcdContext): Verdict {
  if (thrown instanceof GatewayRefusal) return judgeRefusal(thrown, url, context);
  // A file that cannot be read, or an error that was judged before.
  if (thrown instanceof StoreError) return { error: thrown, elsewhere: false, unsent: true };
  if (thrown instanceof DeadlineError) {
    const error = new StoreError(`etcd at ${url}: no answer within ${Math.round(thrown.timeoutMs)} ms`, {
      retryable: true,
      cause: thrown,
    });
    return { error, elsewhere: true, unsent: false };
  }
  if (thrown instanceof BodyTooLargeError) {
    const error = new StoreError(`etcd at ${url}: ${thrown.message}`, { retryable: true, cause: thrown });
    return { error, elsewhere: false, unsent: false };
  }
  const wire = describeWireError(thrown, context.tls);
  const error = new StoreError(`etcd at ${url}: ${wire.text}`, { retryable: wire.retryable, cause: thrown });
  return { error, elsewhere: true, unsent: wire.unsent };
}

// Codes of gRPC: 2 unknown, 4 deadline exceeded, 7 permission denied, 8 resource exhausted, 13 internal, 14 unavailable,
// 16 unauthenticated. The texts are those of etcd's api/v3rpc/rpctypes/error.go, the same from 3.4 to 3.6.
function judgeRefusal(refusal: GatewayRefusal, url: string, { user, root }: EtcdContext): Verdict {
  const { code, message } = refusal;
  const at = `etcd at ${url}`;
  const final = (error: StoreError): Verdict => ({ error, elsewhere: false, unsent: true });
  const refused = (text: string, retryable = false) =>
    final(new StoreError(`${at}: ${text}`, { retryable, notCarriedOut: true }));

  if (message.includes('required revision has been compacted')) return final(new CompactedError(`${at}: ${message}`));
  if (message.includes('required revision is a future revision')) return final(wentBack(url));
  if (message.includes('requested lease not found')) return final(new LeaseNotFoundError(`${at}: ${message}`));
  if (message.includes('database space exceeded')) {
    return refused('its database is full: compact and defragment it, then clear the alarm (etcdctl alarm disarm)');
  }
  if (message.includes('authentication failed')) {
    return refused(`authentication failed for user "${user ?? ''}": check the user and password`);
  }
  const denied = code === 7 || message.includes('permission denied');
  if (denied && user !== null) {
    return refused(`permission denied for user "${user}" on keys below ${root}: grant it readwrite on that prefix`);
  }
  if (denied || isTokenRefusal(refusal)) {
    if (user === null)
      return refused('it demands a user and password: give them with --etcd-user and ROLLCALL_ETCD_PASSWORD');
    return refused(`it refused a new token of user "${user}" (${message})`, true);
  }
  if (message.includes('HTTP request to an HTTPS server')) {
    return refused('it speaks TLS only: use an etcds:// store URL');
  }
  const elsewhere = code === 2 || code === 4 || code === 13 || code === 14;
  const error = new StoreError(`${at}: ${message}`, { retryable: elsewhere || code === 8 });
  // A write that met a change of leader, or timed out inside the cluster, may have been carried out all the same.
  return { error, elsewhere, unsent: message.includes('no leader') || message.includes('too many requests') };
}

/** The token is gone (expired, or the server restarted) or was never sent. One new one is worth a try. */
export function isTokenRefusal(refusal: GatewayRefusal): boolean {
  const { code, message } = refusal;
  return (
    code === 16 || /invalid auth token|user name is empty|revision (of|in) (auth store|header) is old/.test(message)
  );
}

/** Restored from a backup or made anew, and already past the revision of a reader, which is of another history. */
export function replaced(url: string): CompactedError {
  return new CompactedError(`etcd at ${url}: the store was replaced, as by a restore from a backup`);
}

/** Restored from a backup: what was read before is of another history. */
export function wentBack(url: string): CompactedError {
  return new CompactedError(`etcd at ${url}: the store's revision went back, as after a restore from a backup`);
}
