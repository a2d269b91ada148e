import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { BenchContext } from '../benchmark.ts';

const DEATH_WATCH = '/usr/bin/setpriv';

export interface ChildOptions {
  /** Beside PATH; a developer's own ROLLCALL_ and AWS_ settings stay out. */
  readonly env?: Readonly<Record<string, string>>;
  readonly onStdout?: (chunk: Buffer) => void;
  readonly onStderr?: (chunk: Buffer) => void;
  /**
   * The kernel ends the child when this process dies without its exit handlers. Costs a millisecond at its start, so
   * what is timed goes without.
   */
  readonly deathWatch?: boolean;
}

export interface Child {
  readonly pid: number;
  /** Monotonic, just before the fork. */
  readonly startedMs: number;
  /** Resolves when it has ended and its output is read; rejects when it could not be started, or by the run's signal. */
  readonly ended: Promise<{ readonly code: number | null; readonly endedMs: number }>;
  /** Sends the signal and waits for the end. */
  stop(signal: NodeJS.Signals): Promise<void>;
}

/** Runs a command whose output goes to pipes that are read. The benchmark's end kills what is left of it. */
export function startChild(
  { clock, signal, cleanup }: BenchContext,
  command: readonly string[],
  { env = {}, onStdout, onStderr, deathWatch = false }: ChildOptions = {},
): Child {
  signal.throwIfAborted();
  const watched = deathWatch && existsSync(DEATH_WATCH) ? [DEATH_WATCH, '--pdeathsig=KILL', ...command] : command;
  const [program = '', ...args] = watched;
  const startedMs = clock.monotonicMs();
  const child = spawn(program, args, {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  child.stdout.on('data', onStdout ?? (() => {}));
  child.stderr.on('data', onStderr ?? (() => {}));
  const closed = once(child, 'close').then(([code]: (number | null)[]) => ({
    code: code ?? null,
    endedMs: clock.monotonicMs(),
  }));
  const gone = closed
    .then(
      () => {},
      () => {}, // it never started
    )
    .finally(() => process.removeListener('exit', kill));
  const ended = Promise.race([closed, rejection(signal)]);
  ended.catch(() => {}); // nobody need wait for it
  const stop = async (name: NodeJS.Signals) => {
    child.kill(name);
    await gone;
  };
  cleanup.defer(() => stop('SIGKILL'));
  return { pid: child.pid ?? 0, startedMs, ended, stop };
}

function rejection(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
}
