import newConnector from 'undici/lib/core/connect.js';
import type { Clock } from '../lib/clock.ts';
import { describeError } from '../lib/errors.ts';
import { boundedRequest, openHttpPool } from '../lib/http-client.ts';
import { type Observation, reasonFrom } from './check.ts';
import { type HttpCheckConfig, lookWithin, type OpenProbe } from './probe.ts';

const MEANINGS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was closed before an answer',
  UND_ERR_SOCKET: 'the connection was closed before an answer',
  UND_ERR_CONNECT_TIMEOUT: 'no connection',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name cannot be resolved',
  EHOSTUNREACH: 'no route',
  ENETUNREACH: 'no route',
  ENOENT: 'no such socket',
  EACCES: 'no permission to connect',
};

/**
 * Why a connection or a request failed, in words that stay the same while the trouble does: the system's own name the
 * address or the local port of that attempt, and each new text would be a write.
 * @param where what was asked, for people
 */
export function wireReason(where: string, error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  const meaning = typeof code === 'string' ? MEANINGS[code] : undefined;
  return reasonFrom(`${meaning ?? describeError(error)} at ${where}`);
}

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

interface DockerProbeOptions {
  /** Path of docker's unix socket. */
  readonly socketPath: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** The answer has two bytes. */
const MAX_DOCKER_BYTES = 4_096;

/** Whether docker answers its own ping: https://docs.docker.com/reference/api/engine/version/v1.43/#tag/System/operation/SystemPing */
export function dockerProbe(options: DockerProbeOptions): OpenProbe {
  const { socketPath, intervalMs, timeoutMs, clock } = options;
  const connect = newConnector({ socketPath, timeout: timeoutMs });
  const pool = openHttpPool('http://docker', { connections: 1, connectTimeoutMs: timeoutMs, connect });
  const ask = async (signal: AbortSignal): Promise<Observation> => {
    // A connection of its own each time: one that was kept would not notice that nobody accepts new ones.
    const headers = { connection: 'close' };
    const request = { method: 'GET', path: '/_ping', headers, maxBytes: MAX_DOCKER_BYTES, signal } as const;
    const { status, text } = await boundedRequest(pool, request);
    if (status !== 200) return { status: 'critical', reason: `docker /_ping answers HTTP ${status}` };
    if (text.trim() !== 'OK')
      return { status: 'critical', reason: `docker /_ping does not answer OK at ${socketPath}` };
    return { status: 'passing', reason: '' };
  };
  return {
    name: 'docker',
    intervalMs,
    timeoutMs,
    look: (signal) =>
      lookWithin(clock, timeoutMs, signal, async (inner) => {
        try {
          return await ask(inner);
        } catch (error) {
          inner.throwIfAborted();
          return { status: 'critical', reason: wireReason(socketPath, error) };
        }
      }),
    close: () => pool.destroy(),
  };
}
