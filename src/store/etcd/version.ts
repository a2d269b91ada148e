import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import { BodyTooLargeError, describeError } from '../../lib/errors.ts';
import { printable } from '../../lib/foreign-text.ts';
import { boundedRequest, openHttpPool } from '../../lib/http-client.ts';
import type { EtcdTls } from '../store-url.ts';
import { loadTls } from './tls.ts';

const MAX_BODY_BYTES = 65_536;

/**
 * Asks what answers at an endpoint whose gRPC fails for no known reason: every etcd, 2.0 included, says its version at
 * `GET /version`, on the same port and without authentication.
 * @returns a sentence for a person, which names the version where there is one; null: nothing answered
 */
export async function explainEndpoint(
  url: string,
  tls: EtcdTls | null,
  clock: Clock,
  limitMs: number,
): Promise<string | null> {
  const trust = async () => (tls === null ? {} : loadTls(tls, clock));
  try {
    const pool = openHttpPool(url, { connections: 1, connectTimeoutMs: limitMs, tls: trust });
    try {
      const { status, text } = await withDeadline(clock, limitMs, new AbortController().signal, url, (signal) =>
        boundedRequest(pool, { method: 'GET', path: '/version', maxBytes: MAX_BODY_BYTES, signal }),
      );
      return explainVersionAnswer(status, text);
    } finally {
      await pool.destroy();
    }
  } catch (error) {
    // For any other, the failure that led here says more.
    return isForeign(error) ? NO_HTTP : null;
  }
}

const NO_HTTP = 'it is not etcd: it does not answer GET /version as HTTP does; check the address and port';

/** What answers speaks another protocol, or sends a page without end. */
function isForeign(error: unknown): boolean {
  // The codes of Node's HTTP parser.
  return error instanceof BodyTooLargeError || /^HPE_/.test((error as NodeJS.ErrnoException).code ?? '');
}

/** @param text the body */
export function explainVersionAnswer(status: number, text: string): string {
  if (text.includes('HTTP request to an HTTPS server')) return 'it speaks TLS only: use an etcds:// store URL';
  const version = /"etcdserver"\s*:\s*"(\d+\.\d+[^"]*)"/.exec(text)?.[1] ?? /\betcd (\d+\.\d+\S*)/.exec(text)?.[1];
  if (status !== 200 || version === undefined) {
    const excerpt = printable(describeError(text)).slice(0, 60);
    return `it is not etcd: it answers GET /version with HTTP ${status} ("${excerpt}"); check the address and port`;
  }
  if (isTooOld(version)) return `it is etcd ${version}, which is too old: rollcall needs etcd 3.2 to 3.6`;
  return (
    `it is etcd ${version}, and gRPC does not get through to it: name etcd's own port, ` +
    'or let the proxy before it pass HTTP/2 (nginx: "http2 on" and "grpc_pass")'
  );
}

function isTooOld(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major < 3 || (major === 3 && minor < 2);
}
