import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';

export interface BoundProcess {
  readonly pid: number;
  readonly child: ChildProcess;
  /** The last of what it wrote to stdout and stderr. */
  output(): string;
  ended(): boolean;
  /** Ends it with SIGKILL and waits for that. */
  kill(): Promise<void>;
}

/** Starts a program that the kernel kills should this process die, however it dies. */
export function spawnBound(command: readonly string[], options: SpawnOptions = {}): BoundProcess {
  const child = spawn('setpriv', ['--pdeathsig=KILL', ...command], {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let ended = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      output = (output + chunk).slice(-8_000);
    });
  }
  const end = once(child, 'exit').then(
    () => {
      ended = true;
    },
    (error) => {
      output += String(error);
      ended = true;
    },
  );
  return {
    pid: child.pid ?? 0,
    child,
    output: () => output,
    ended: () => ended,
    async kill() {
      if (!ended) child.kill('SIGKILL');
      await end;
    },
  };
}
