import type { Clock } from '../lib/clock.ts';
import { BodyTooLargeError } from '../lib/errors.ts';
import { boundedText, openHttpPool, statusOf } from '../lib/http-client.ts';
import { type Observation, reasonFrom } from './check.ts';
import { criticalOnFailure } from './connection-failure.ts';
import { type HttpCheckConfig, type OpenProbe, runWithin } from './probe.ts';

interface HttpProbeOptions {
  readonly check: HttpCheckConfig;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** Only the status is used. The body is read, up to this limit, so that the server can finish its answer. */
const MAX_BODY_BYTES = 65_536;

/** Requests an operator's URL: 2xx is passing, 429 is warning, any other status is critical: https://developer.hashicorp.com/consul/docs/reference/service/health-check */
export function httpProbe(options: HttpProbeOptions): OpenProbe {
  const { check, intervalMs, timeoutMs, clock } = options;
  const url = new URL(check.url);
  // Without the query, because it may contain a secret and every reader sees the record.
  const where = `${url.host}${url.pathname}`;
  const pool = openHttpPool(url.origin, { connections: 1 });
  const ask = async (signal: AbortSignal): Promise<Observation> => {
    // A new connection for each run: a kept one would not show that the server no longer accepts connections, and would
    // fail if the server closes it at the same moment.
    const headers = { connection: 'close', 'user-agent': 'rollcall' };
    const path = `${url.pathname}${url.search}`;
    const answer = await pool.request({ method: 'GET', path, headers, signal });
    await boundedText(answer, MAX_BODY_BYTES).catch((error: unknown) => {
      if (!(error instanceof BodyTooLargeError)) throw error;
    });
    return judgeStatus(statusOf(answer), where);
  };
  return {
    name: check.name,
    intervalMs,
    timeoutMs,
    run: (signal) => runWithin(clock, timeoutMs, signal, (inner) => criticalOnFailure(where, ask(inner), inner)),
    close: () => pool.destroy(),
  };
}

function judgeStatus(code: number, where: string): Observation {
  if (code >= 200 && code < 300) return { status: 'passing', reason: '' };
  const hint = code >= 300 && code < 400 ? '; redirects are not followed' : '';
  return { status: code === 429 ? 'warning' : 'critical', reason: reasonFrom(`HTTP ${code} from ${where}${hint}`) };
}
