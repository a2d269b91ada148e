import type { HttpCheckConfig } from '../config/check-config.ts';
import { openHttpPool } from '../net/http-pool.ts';
import type { Clock } from '../timing/clock.ts';
import { lookWithin } from './look-within.ts';
import type { Observation } from './observe-check.ts';
import type { OpenProbe } from './probe.ts';
import { reasonFrom } from './reason.ts';
import { wireReason } from './wire-reason.ts';

interface HttpProbeOptions {
  readonly check: HttpCheckConfig;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** The status says it all; the body is read only so that the server may end in good order. */
const MAX_BODY_BYTES = 65_536;

/** An operator's own URL: 2xx passes, 429 warns, all else is critical: https://developer.hashicorp.com/consul/docs/reference/service/health-check */
export function httpProbe(options: HttpProbeOptions): OpenProbe {
  const { check, intervalMs, timeoutMs, clock } = options;
  const url = new URL(check.url);
  // Not the query: it may hold a secret, and a record is read by all.
  const where = `${url.host}${url.pathname}`;
  const pool = openHttpPool(url.origin, { connections: 1, connectTimeoutMs: timeoutMs });
  const ask = async (signal: AbortSignal): Promise<Observation> => {
    // A connection of its own each time: one that was kept would not notice that nobody accepts new ones, and would fail
    // whenever the server closes it just then.
    const headers = { connection: 'close', 'user-agent': 'rollcall' };
    const path = `${url.pathname}${url.search}`;
    const response = await pool.request({ method: 'GET', path, headers, signal });
    await response.body.dump({ limit: MAX_BODY_BYTES, signal });
    return judgeStatus(response.statusCode, where);
  };
  return {
    name: check.name,
    intervalMs,
    timeoutMs,
    look: (signal) =>
      lookWithin(clock, timeoutMs, signal, async (inner) => {
        try {
          return await ask(inner);
        } catch (error) {
          inner.throwIfAborted();
          return { status: 'critical', reason: wireReason(where, error) };
        }
      }),
    close: () => pool.destroy(),
  };
}

function judgeStatus(code: number, where: string): Observation {
  if (code >= 200 && code < 300) return { status: 'passing', reason: '' };
  const hint = code >= 300 && code < 400 ? '; redirects are not followed' : '';
  return { status: code === 429 ? 'warning' : 'critical', reason: reasonFrom(`HTTP ${code} from ${where}${hint}`) };
}
