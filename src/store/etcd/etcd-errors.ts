import { DeadlineError } from '../../lib/deadline.ts';
import { describeError } from '../../lib/errors.ts';
import { CompactedError, LeaseNotFoundError, StoreError } from '../store-errors.ts';
import type { EtcdTls } from '../store-url.ts';
import { RpcError } from './channel.ts';
import { ConnectTimeoutError, HandshakeCutError } from './dial.ts';

/** What the messages of this store's errors may say of it. No secrets. */
export interface EtcdContext {
  /** null: none was given. */
  readonly user: string | null;
  /** What every key of ours starts with, such as `/rollcall/`. */
  readonly root: string;
  readonly tls: EtcdTls | null;
}

/** What came back is not what etcd sends. */
export class JunkAnswerError extends Error {
  override readonly name = 'JunkAnswerError';
}

/** What a failed attempt at one endpoint means. */
export interface Verdict {
  readonly error: StoreError;
  /** Another endpoint may do better. */
  readonly elsewhere: boolean;
  /** It is certain that nothing was carried out. */
  readonly unsent: boolean;
  /** The message says what happened and not why: what answers there may be no etcd, or one that is too old. */
  readonly unexplained?: boolean;
}

/** https://grpc.io/docs/guides/status-codes/ */
const CODES = {
  cancelled: 1,
  unknown: 2,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
};

/**
 * Judges whatever an attempt threw. The message names the endpoint and, where there is one, the next step.
 * @param url the endpoint's origin
 * @param right what the attempt needs a right for, such as `write /rollcall/v1/records/i-1`
 */
export function judge(thrown: unknown, url: string, context: EtcdContext, right?: string): Verdict {
  // An error that was judged before.
  if (thrown instanceof StoreError) return { error: thrown, elsewhere: false, unsent: true };
  const failed: Fail = (text, rest, { retryable = true, cause = thrown } = {}) => ({
    error: new StoreError(`etcd at ${url}: ${text}`, { retryable, cause }),
    ...rest,
  });
  if (thrown instanceof DeadlineError) {
    return failed(`no answer within ${Math.round(thrown.timeoutMs)} ms`, { elsewhere: true, unsent: false });
  }
  if (thrown instanceof RpcError) {
    if (isAnswerTooLarge(thrown)) return failed('the answer is too large', { elsewhere: false, unsent: false });
    return thrown.sent ? judgeRefusal(thrown, url, context, right) : judgeConnection(thrown, failed, context.tls);
  }
  const text = thrown instanceof RangeError ? `the answer is not etcd's: ${thrown.message}` : describeError(thrown);
  return failed(text, { elsewhere: true, unsent: false, unexplained: true });
}

/** Ask for less. */
export function isAnswerTooLarge(thrown: unknown): boolean {
  return (
    thrown instanceof RpcError && thrown.code === CODES.resourceExhausted && /larger than max/.test(thrown.message)
  );
}

/** A lease was to be granted under an id that one has already. */
export function isLeaseTaken(thrown: unknown): boolean {
  return (
    thrown instanceof StoreError && thrown.cause instanceof RpcError && /lease already exists/.test(thrown.message)
  );
}

type Fail = (
  text: string,
  rest: Omit<Verdict, 'error'>,
  options?: { readonly retryable?: boolean; readonly cause?: unknown },
) => Verdict;

/** There was no connection to send the call on. */
function judgeConnection({ message, cause }: RpcError, failed: Fail, tls: EtcdTls | null): Verdict {
  const network = NETWORK[/\b(E[A-Z_]{4,})\b/.exec(message)?.[1] ?? ''];
  // The system's text says the same in another way, behind the next step.
  if (network !== undefined) return failed(network, { elsewhere: true, unsent: true }, { cause: null });
  if (cause instanceof StoreError) return { error: cause, elsewhere: false, unsent: true };
  if (cause instanceof ConnectTimeoutError)
    return failed(
      cause.taken ? `${cause.message}: ${HANGS}` : NO_CONNECTION,
      { elsewhere: true, unsent: true },
      { cause: null },
    );
  if (cause instanceof HandshakeCutError) {
    const text = `${cause.message}: if etcd speaks no TLS, use an etcd:// store URL`;
    return failed(text, { elsewhere: true, unsent: true }, { cause: null });
  }
  const tlsText = cause instanceof Error ? describeTls(cause, tls) : null;
  if (tlsText !== null) return failed(tlsText, { elsewhere: true, unsent: true }, { retryable: false });
  const closed = message === CLOSED ? `connection closed without an answer${tls === null ? WANTS_TLS : ''}` : null;
  const rest = { elsewhere: true, unsent: true, unexplained: true };
  // Of a connection that was closed grpc-js says no more.
  return closed === null ? failed(describeError(message), rest) : failed(closed, rest, { cause: null });
}

const NO_CONNECTION = 'no connection in time: check the address in the store URL, and the firewalls on the way';
/** A frozen process: its host still takes connections. */
const HANGS = 'check that etcd there is not frozen or overloaded, and the port of the store URL';
const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused: check that etcd runs there, and the port of the store URL',
  ECONNRESET: 'connection reset: check that etcd is what listens there, and the port of the store URL',
  ENOTFOUND: "its name does not resolve: check the host of the store URL, and this host's DNS",
  EAI_AGAIN: "its name cannot be resolved now: check this host's DNS",
  EHOSTUNREACH: 'no route to host: check the address in the store URL, routes and firewalls',
  ENETUNREACH: "network unreachable: check the address in the store URL, and this host's routes",
  ETIMEDOUT: NO_CONNECTION,
};

/** grpc-js says so of a connection that was closed before the first HTTP/2 frame, as etcd does that speaks TLS only. */
const CLOSED = 'Failed to connect';
const WANTS_TLS = ': if etcd speaks TLS, use an etcds:// store URL';

/** Node's and OpenSSL's codes for what goes wrong in TLS, in the words of an operator, with what to mend. */
function describeTls(error: Error, tls: EtcdTls | null): string | null {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  switch (code) {
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'CERT_SIGNATURE_FAILURE':
      return tls?.caFile
        ? `server certificate not trusted: ${tls.caFile} holds no CA that signed it`
        : 'server certificate not trusted: give its CA with --etcd-ca-file';
    case 'CERT_HAS_EXPIRED':
      return 'server certificate expired: renew it on the etcd host';
    case 'CERT_NOT_YET_VALID':
      return "server certificate not valid yet: check this host's clock";
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `server certificate is for other names: ${oneReason(error)}`;
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return 'it does not speak TLS: use an etcd:// store URL';
  }
  if (/^ERR_SSL_.*ALERT_(BAD_CERTIFICATE|CERTIFICATE_|UNKNOWN_CA|UNSUPPORTED_CERTIFICATE)/.test(code)) {
    return tls?.certFile
      ? `it refused the client certificate ${tls.certFile}: check that its CA is the one etcd trusts`
      : 'it demands a client certificate: give one with --etcd-cert-file and --etcd-key-file';
  }
  return code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_') ? `TLS failed: ${oneReason(error)}` : null;
}

function oneReason(error: Error): string {
  return 'reason' in error && typeof error.reason === 'string' ? error.reason : describeError(error);
}

// The texts are those of etcd's api/v3rpc/rpctypes/error.go, the same from 3.2 to 3.6.
function judgeRefusal(refusal: RpcError, url: string, context: EtcdContext, right?: string): Verdict {
  const { user, root, tls } = context;
  const { code } = refusal;
  const message = describeError(refusal.message);
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
  // A proxy's page, and not etcd's gRPC.
  const foreign = message.startsWith('Received HTTP status code');
  const denied = !foreign && (code === CODES.permissionDenied || message.includes('permission denied'));
  const whose = user !== null ? `user "${user}"` : tls?.certFile ? `the user that is the CN of ${tls.certFile}` : null;
  if (denied && whose !== null) {
    const need = `it has no right to ${right ?? `use keys below ${root}`}`;
    return refused(`permission denied for ${whose}: ${need}; give its role that right (docs/stores.md)`);
  }
  if (denied || (!foreign && isTokenRefusal(refusal))) {
    if (user === null)
      return refused('it demands a user and password: give them with --etcd-user and ROLLCALL_ETCD_PASSWORD');
    return refused(`it refused a new token of user "${user}" (${message})`, true);
  }
  const unexplained = foreign || code === CODES.unimplemented;
  const { cancelled, unknown, deadlineExceeded, internal, unavailable, resourceExhausted } = CODES;
  const elsewhere = unexplained || [cancelled, unknown, deadlineExceeded, internal, unavailable].includes(code);
  const error = new StoreError(`${at}: ${message}`, {
    retryable: elsewhere || code === resourceExhausted,
    cause: refusal,
  });
  // A write that met a change of leader, or timed out inside the cluster, may have been carried out all the same.
  const unsent = unexplained || message.includes('no leader') || message.includes('too many requests');
  return { error, elsewhere, unsent, unexplained };
}

/** The token is gone (expired, or the server restarted) or was never sent. One new one is worth a try. */
export function isTokenRefusal({ code, message }: RpcError): boolean {
  return (
    code === CODES.unauthenticated ||
    /invalid auth token|user name is empty|revision (of|in) (auth store|header) is old/.test(message)
  );
}

/**
 * The connection ended under the call: some etcds hang up on a token that they do not know any more, instead of refusing
 * it (etcd issues 15256 and 20332).
 */
export function mayBeTokensFault(thrown: unknown): boolean {
  if (!(thrown instanceof RpcError) || !thrown.sent) return false;
  const { cancelled, unknown, internal, unavailable } = CODES;
  return [cancelled, unknown, internal, unavailable].includes(thrown.code) && !thrown.message.startsWith('etcdserver:');
}

/** Restored from a backup or made anew, and already past the revision of a reader, which is of another history. */
export function replaced(url: string): CompactedError {
  return new CompactedError(`etcd at ${url}: the store was replaced, as by a restore from a backup`);
}

/** Restored from a backup: what was read before is of another history. */
export function wentBack(url: string): CompactedError {
  return new CompactedError(`etcd at ${url}: the store's revision went back, as after a restore from a backup`);
}
