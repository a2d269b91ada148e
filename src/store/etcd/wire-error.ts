import type { EtcdTls } from '../../config/store-config.ts';
import { describeError } from '../../errors.ts';
import { JunkAnswerError } from './json-fields.ts';

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
