import { DeadlineError } from '../../lib/deadline.ts';
import { describeError } from '../../lib/errors.ts';
import { BodyTooLargeError } from '../../lib/http-client.ts';
import { CompactedError, LeaseNotFoundError, StoreError } from '../errors.ts';
import type { EtcdTls } from '../store-url.ts';

/** What the messages of this store's errors may say of it. No secrets. */
export interface EtcdContext {
  /** null: none was given. */
  readonly user: string | null;
  /** What every key of ours starts with, such as `/rollcall/`. */
  readonly root: string;
  readonly tls: EtcdTls | null;
}

/** What came back is not what etcd's gateway sends: another server, a proxy, or an answer cut short. */
export class JunkAnswerError extends Error {
  override readonly name = 'JunkAnswerError';
}

export type JsonObject = Readonly<Record<string, unknown>>;

// The gateway omits every field that is zero, false or empty, so each of these has a default. They are written by hand
// because a list of 10,000 nodes passes through them.

/** One JSON object. @throws JunkAnswerError */
export function parseObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new JunkAnswerError(`the answer is not JSON: ${excerpt(text)}`);
  }
  if (!isObject(value)) throw new JunkAnswerError(`the answer is not a JSON object: ${excerpt(text)}`);
  return value;
}

export function objectField(object: JsonObject, name: string): JsonObject {
  const value = object[name];
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw wrongField(name, 'an object');
  return value;
}

export function objectsField(object: JsonObject, name: string): readonly JsonObject[] {
  const value = object[name];
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || !value.every(isObject)) throw wrongField(name, 'a list of objects');
  return value;
}

export function textField(object: JsonObject, name: string): string {
  const value = object[name];
  if (value === undefined || value === null) return '';
  if (typeof value !== 'string') throw wrongField(name, 'a text');
  return value;
}

export function flagField(object: JsonObject, name: string): boolean {
  const value = object[name];
  if (value === undefined || value === null) return false;
  if (typeof value !== 'boolean') throw wrongField(name, 'true or false');
  return value;
}

/** An int64, which travels as decimal text. Kept as text: a lease id has more digits than a number can hold. */
export function int64Field(object: JsonObject, name: string): string {
  const value = object[name];
  if (value === undefined || value === null) return '0';
  if (typeof value === 'string' && /^-?\d{1,20}$/.test(value)) return value;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  throw wrongField(name, 'a 64-bit number');
}

/** The store's revision from an answer's header; it is never 0. */
export function headerRevision(object: JsonObject): string {
  const revision = int64Field(objectField(object, 'header'), 'revision');
  if (revision === '0') throw wrongField('header.revision', 'there');
  return revision;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrongField(name: string, expected: string): JunkAnswerError {
  return new JunkAnswerError(`the answer's field ${name} is not ${expected}`);
}

function excerpt(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  if (line === '') return 'it is empty';
  return line.length > 60 ? `${line.slice(0, 60)}…` : line;
}

/** etcd answered, and the answer is no. `code` is gRPC's: https://grpc.io/docs/guides/status-codes/ */
export class GatewayRefusal extends Error {
  override readonly name = 'GatewayRefusal';
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Marks an answer that no etcd gives: its status with the start of its text. Some proxy or balancer stands in between. */
const UNAVAILABLE = 14;

/**
 * One answer of a unary call, or one line of a streamed one (whose `result` is unwrapped).
 *
 * Refusals come in three shapes, all observed: `{"error","message","code"}` (3.4), `{"code","message","details"}`
 * (3.5 and 3.6), and on streams `{"error":{"grpc_code","http_code","message"}}` (3.4; newer: `{"error":{"code","message"}}`).
 * @throws GatewayRefusal, or JunkAnswerError for what is none of these
 */
export function parseAnswer(status: number, text: string): JsonObject {
  const answer = parseGatewayJson(status, text);
  const wrapped = answer['error'];
  if (typeof wrapped === 'object' && wrapped !== null) {
    const error = objectField(answer, 'error');
    throw new GatewayRefusal(refusalCode(error), textField(error, 'message') || 'no reason given');
  }
  if (status !== 200 || typeof wrapped === 'string') {
    const message = textField(answer, 'message') || textField(answer, 'error') || `HTTP status ${status}`;
    throw new GatewayRefusal(refusalCode(answer), message);
  }
  return answer['result'] === undefined ? answer : objectField(answer, 'result');
}

function parseGatewayJson(status: number, text: string): JsonObject {
  try {
    return parseObject(text);
  } catch (error) {
    if (status === 200 || !(error instanceof Error)) throw error;
    throw new GatewayRefusal(UNAVAILABLE, `HTTP status ${status}, ${error.message}`);
  }
}

/** Without a code the refusal is not etcd's own: unknown (2), which another endpoint may do better. */
function refusalCode(object: JsonObject): number {
  for (const name of ['code', 'grpc_code']) if (typeof object[name] === 'number') return object[name];
  return 2;
}

interface WireError {
  readonly text: string;
  readonly retryable: boolean;
  /** The request did not reach etcd. */
  readonly unsent: boolean;
}

/** Node's and OpenSSL's codes for what goes wrong before or below HTTP, in the words of somebody who has to mend it. */
export function describeWireError(thrown: unknown, tls: EtcdTls | null): WireError {
  if (thrown instanceof JunkAnswerError) return { text: thrown.message, retryable: true, unsent: false };
  const code = codeOf(thrown);
  const plain = PLAIN[code];
  if (plain) return code === 'UND_ERR_SOCKET' && tls === null ? mayWantTls(thrown, plain) : plain;
  const tlsText = describeTls(code, thrown, tls);
  if (tlsText !== null) return { text: tlsText, retryable: false, unsent: true };
  return { text: describeError(thrown), retryable: true, unsent: false };
}

const PLAIN: Readonly<Record<string, WireError>> = {
  ECONNREFUSED: { text: 'connection refused', retryable: true, unsent: true },
  ENOTFOUND: { text: 'its name does not resolve', retryable: true, unsent: true },
  EAI_AGAIN: { text: 'its name cannot be resolved now', retryable: true, unsent: true },
  EHOSTUNREACH: { text: 'no route to host', retryable: true, unsent: true },
  ENETUNREACH: { text: 'network unreachable', retryable: true, unsent: true },
  UND_ERR_CONNECT_TIMEOUT: { text: 'no connection in time', retryable: true, unsent: true },
  ECONNRESET: { text: 'connection reset', retryable: true, unsent: false },
  UND_ERR_SOCKET: { text: 'connection closed before the whole answer came', retryable: true, unsent: false },
  UND_ERR_ABORTED: { text: 'connection closed', retryable: true, unsent: false },
  UND_ERR_CLOSED: { text: 'this store is closed', retryable: false, unsent: true },
  UND_ERR_DESTROYED: { text: 'this store is closed', retryable: false, unsent: false },
};

/** etcd that speaks TLS only hangs up on plain HTTP without a word; so does one that is killed at that moment. */
function mayWantTls(thrown: unknown, plain: WireError): WireError {
  const { socket } = thrown as { readonly socket?: { readonly bytesRead?: number } };
  if (socket?.bytesRead !== 0) return plain;
  return { ...plain, text: 'connection closed without an answer: if etcd speaks TLS, use an etcds:// store URL' };
}

function describeTls(code: string, thrown: unknown, tls: EtcdTls | null): string | null {
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
      return `server certificate is for other names: ${oneReason(thrown)}`;
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return 'it does not speak TLS: use an etcd:// store URL';
  }
  if (/^ERR_SSL_.*ALERT_(BAD_CERTIFICATE|CERTIFICATE_|UNKNOWN_CA|UNSUPPORTED_CERTIFICATE)/.test(code)) {
    return tls?.certFile
      ? `it refused the client certificate ${tls.certFile}: check that its CA is the one etcd trusts`
      : 'it demands a client certificate: give one with --etcd-cert-file and --etcd-key-file';
  }
  return code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_') ? `TLS failed: ${oneReason(thrown)}` : null;
}

function oneReason(thrown: unknown): string {
  const reason = thrown instanceof Error && 'reason' in thrown ? thrown.reason : undefined;
  return typeof reason === 'string' ? reason : describeError(thrown);
}

/** Of the error itself, of its cause, or of the first of the addresses that were tried. */
function codeOf(thrown: unknown): string {
  for (let current = thrown, depth = 0; current instanceof Error && depth < 4; depth += 1) {
    const code = 'code' in current && typeof current.code === 'string' ? current.code : '';
    // undici wraps what ended a socket under use; the cause says more.
    if (code !== '' && !(code === 'UND_ERR_SOCKET' && current.cause instanceof Error)) return code;
    current = current instanceof AggregateError ? current.errors[0] : current.cause;
  }
  return '';
}

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
