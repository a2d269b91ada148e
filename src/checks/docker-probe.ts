import type { Clock } from '../lib/clock.ts';
import { boundedRequest, openHttpPool } from '../lib/http-client.ts';
import type { Observation } from './check.ts';
import { criticalOnFailure } from './connection-failure.ts';
import { type OpenProbe, runWithin } from './probe.ts';

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
  const pool = openHttpPool('http://docker', { connections: 1, socketPath });
  const ask = async (signal: AbortSignal): Promise<Observation> => {
    // A new connection for each run, as for a check by HTTP: a kept one would not show that docker no longer accepts
    // any, and would fail if docker closes it at the same moment.
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
