import { statSync } from 'node:fs';
import type { CheckConfig } from '../config/check-config.ts';
import type { Clock } from '../timing/clock.ts';
import { commandProbe } from './command-probe.ts';
import { diskProbe } from './disk-probe.ts';
import { dockerProbe } from './docker-probe.ts';
import { httpProbe } from './http-probe.ts';
import type { OpenProbe, Probe } from './probe.ts';

export interface OpenProbes {
  readonly probes: readonly Probe[];
  /** Ends their connections and waits, up to 1 s, for the children of looks that were aborted. */
  close(): Promise<void>;
}

interface ProbeDependencies {
  readonly clock: Clock;
  /** The environment that commands run in. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The probes that a configuration asks for. Docker's only where its socket is: not every node has it mounted. */
export function openProbes(config: CheckConfig, { clock, env }: ProbeDependencies): OpenProbes {
  const { dockerSocket, disk, intervalMs, timeoutMs } = config;
  const common = { intervalMs, timeoutMs, clock };
  const docker =
    dockerSocket !== null && isSocket(dockerSocket) ? [dockerProbe({ ...common, socketPath: dockerSocket })] : [];
  const http = config.http.map((check) => httpProbe({ ...common, check }));
  const exec = config.exec.map((check) => commandProbe({ ...common, check, env }));
  const opened: readonly OpenProbe[] = [...docker, ...http, ...exec];
  return {
    probes: [...docker, ...(disk ? [diskProbe({ ...common, disk })] : []), ...http, ...exec],
    async close() {
      await Promise.all(opened.map((probe) => probe.close()));
    },
  };
}

function isSocket(path: string): boolean {
  try {
    return statSync(path).isSocket();
  } catch {
    return false; // not there, or not for us
  }
}
