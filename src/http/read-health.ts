import { describeError } from '../errors.ts';
import { boundedRequest } from '../net/bounded-request.ts';
import { openHttpPool } from '../net/http-pool.ts';
import { printable } from '../printable.ts';
import type { Clock } from '../timing/clock.ts';
import { withDeadline } from '../timing/with-deadline.ts';

export interface HealthVerdict {
  readonly healthy: boolean;
  /** One line for a person. */
  readonly reason: string;
}

const LIMIT_MS = 3_000;
const MAX_BODY_BYTES = 65_536;

/** What `/healthz` of the agent that listens there says; an agent that does not answer is not healthy. */
export async function readHealth(
  listen: { readonly host: string; readonly port: number },
  clock: Clock,
  signal: AbortSignal,
): Promise<HealthVerdict> {
  const origin = `http://${hostToAsk(listen.host)}:${listen.port}`;
  const url = `${origin}/healthz`;
  const pool = openHttpPool(origin, { connections: 1, connectTimeoutMs: LIMIT_MS });
  try {
    const { status, text } = await withDeadline(clock, LIMIT_MS, signal, `cannot ask ${url}`, (inner) =>
      boundedRequest(pool, { method: 'GET', path: '/healthz', maxBytes: MAX_BODY_BYTES, signal: inner }),
    );
    if (status === 200) return { healthy: true, reason: `healthy: ${url}` };
    return { healthy: false, reason: `${url} says HTTP ${status}: ${detail(text)}` };
  } catch (error) {
    signal.throwIfAborted();
    const cause = describeError(error);
    return {
      healthy: false,
      reason: cause.includes(url) ? cause : `cannot ask ${url}: ${cause}; is the agent running?`,
    };
  } finally {
    await pool.destroy();
  }
}

/** Who listens on all addresses is asked on loopback. */
function hostToAsk(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}

function detail(body: string): string {
  try {
    const parsed: unknown = JSON.parse(body);
    if (parsed && typeof parsed === 'object' && 'detail' in parsed)
      return printable(String(parsed.detail)).slice(0, 500);
  } catch {
    // no agent's answer
  }
  return 'the answer is no agent’s';
}
