import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Clock } from '../timing/clock.ts';

export interface AgentLauncher {
  /** This program's own start: runtime flags and script, after the runtime itself. */
  readonly self: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly stderr: (line: string) => void;
}

export interface RunningAgents {
  /** Resolves when the last of them has ended by itself. */
  readonly allEnded: Promise<unknown>;
  /** Asks all to leave, and ends those that did not within the time an agent has for it. */
  stop(): Promise<void>;
}

/** An agent leaves within 3 s in any case; one that does not is stuck. */
const STOP_LIMIT_MS = 5_000;

/** Starts one real agent process for each environment; says on stderr when one ends that was not asked to. */
export function startAgents(
  launcher: AgentLauncher,
  environments: readonly Readonly<Record<string, string>>[],
): RunningAgents {
  let stopping = false;
  const children = environments.map((environment, index) => {
    const child = spawn(process.execPath, [...launcher.self, 'agent'], {
      env: { ROLLCALL_LOG_LEVEL: 'warn', ...launcher.env, ...environment },
      // The channel is never written to: its end tells an agent that whoever started it is gone.
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    child.on('error', (error) => launcher.stderr(`agent ${index + 1}: cannot start: ${error.message}`));
    child.on('exit', (code, signal) => {
      if (!stopping) launcher.stderr(`agent ${index + 1} (pid ${child.pid}) ended: ${signal ?? `exit status ${code}`}`);
    });
    return child;
  });
  const allEnded = Promise.all(children.map(ended));
  return {
    allEnded,
    async stop() {
      stopping = true;
      for (const child of children) child.kill('SIGTERM');
      const timer = new AbortController();
      const late = launcher.clock.sleep(STOP_LIMIT_MS, timer.signal).then(
        () => {
          for (const child of children) child.kill('SIGKILL');
        },
        () => {},
      );
      await allEnded;
      timer.abort();
      await late;
    },
  };
}

function ended(child: ChildProcess): Promise<unknown> {
  return child.exitCode !== null || child.signalCode !== null ? Promise.resolve() : once(child, 'exit').catch(() => {});
}
