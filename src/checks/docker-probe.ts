import newConnector from 'undici/lib/core/connect.js';
import { boundedRequest } from '../net/bounded-request.ts';
import { openHttpPool } from '../net/http-pool.ts';
import type { Clock } from '../timing/clock.ts';
import { lookWithin } from './look-within.ts';
import type { Observation } from './observe-check.ts';
import type { OpenProbe } from './probe.ts';
import { wireReason } from './wire-reason.ts';

interface DockerProbeOptions {
  /** Path of docker's unix socket. */
  readonly socketPath: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** The answer has two bytes. */
const MAX_BODY_BYTES = 4_096;

/** Whether docker answers its own ping: https://docs.docker.com/reference/api/engine/version/v1.43/#tag/System/operation/SystemPing */
export function dockerProbe(options: DockerProbeOptions): OpenProbe {
  const { socketPath, intervalMs, timeoutMs, clock } = options;
  const connect = newConnector({ socketPath, timeout: timeoutMs });
  const pool = openHttpPool('http://docker', { connections: 1, connectTimeoutMs: timeoutMs, connect });
  const ask = async (signal: AbortSignal): Promise<Observation> => {
    // A connection of its own each time: one that was kept would not notice that nobody accepts new ones.
    const headers = { connection: 'close' };
    const request = { method: 'GET', path: '/_ping', headers, maxBytes: MAX_BODY_BYTES, signal } as const;
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
