import newConnector from 'undici/lib/core/connect.js';
import type { Clock } from '../lib/clock.ts';
import { describeError } from '../lib/errors.ts';
import { boundedRequest, openHttpPool } from '../lib/http-client.ts';
import { type Observation, reasonFrom } from './check.ts';
import { type HttpCheckConfig, type OpenProbe, runWithin } from './probe.ts';

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
 * Why a connection or a request failed, in a text that stays the same while the failure lasts. The system's own texts
 * contain the address or the local port of one attempt, and each new text would be a write of the record.
 * @param where the target, for messages
 */
function connectionFailure(where: string, error: unknown): string {
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

/** Only the status is used. The body is read, up to this limit, so that the server can finish its answer. */
const MAX_BODY_BYTES = 65_536;

/** Requests an operator's URL: 2xx is passing, 429 is warning, any other status is critical: https://developer.hashicorp.com/consul/docs/reference/service/health-check */
export function httpProbe(options: HttpProbeOptions): OpenProbe {
  const { check, intervalMs, timeoutMs, clock } = options;
  const url = new URL(check.url);
  // Without the query, because it may contain a secret and every reader sees the record.
  const where = `${url.host}${url.pathname}`;
  const pool = openHttpPool(url.origin, { connections: 1, connectTimeoutMs: timeoutMs });
  const ask = async (signal: AbortSignal): Promise<Observation> => {
    // A new connection for each run: a kept one would not show that the server no longer accepts connections, and would
    // fail if the server closes it at the same moment.
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
    run: (signal) => runWithin(clock, timeoutMs, signal, (inner) => criticalOnFailure(where, ask(inner), inner)),
    close: () => pool.destroy(),
  };
}

/** @param where what was asked, for the reason */
async function criticalOnFailure(
  where: string,
  asking: Promise<Observation>,
  signal: AbortSignal,
): Promise<Observation> {
  try {
    return await asking;
  } catch (error) {
    signal.throwIfAborted();
    return { status: 'critical', reason: connectionFailure(where, error) };
  }
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

/** Checks that docker answers its ping: https://docs.docker.com/reference/api/engine/version/v1.43/#tag/System/operation/SystemPing */
export function dockerProbe(options: DockerProbeOptions): OpenProbe {
  const { socketPath, intervalMs, timeoutMs, clock } = options;
  const connect = newConnector({ socketPath, timeout: timeoutMs });
  const pool = openHttpPool('http://docker', { connections: 1, connectTimeoutMs: timeoutMs, connect });
  const ask = async (signal: AbortSignal): Promise<Observation> => {
    // A new connection for each run, for the same reasons.
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
    run: (signal) => runWithin(clock, timeoutMs, signal, (inner) => criticalOnFailure(socketPath, ask(inner), inner)),
    close: () => pool.destroy(),
  };
}
