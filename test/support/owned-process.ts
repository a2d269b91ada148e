import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { until } from './machine-time.ts';

const DEATH_WATCH = '/usr/bin/setpriv';

/**
 * The command as one that the kernel ends when this process dies: an interrupted test runs no handlers of its own.
 * setpriv becomes the command, so that its pid stays.
 */
export function diesWithParent(
  signal: 'KILL' | 'TERM',
  file: string,
  args: readonly string[],
): [file: string, args: string[]] {
  return existsSync(DEATH_WATCH) ? [DEATH_WATCH, [`--pdeathsig=${signal}`, file, ...args]] : [file, [...args]];
}

const killers = new Set<() => void>();
process.once('exit', () => {
  for (const kill of killers) kill();
});

/** Calls `kill` when this process exits, unless the answer is called before. One listener serves all, however many they are. */
export function killAtExit(kill: () => void): () => void {
  killers.add(kill);
  return () => killers.delete(kill);
}

/** What a process belongs to: a test, or a benchmark. */
export interface Owner {
  after(end: () => Promise<unknown>): void;
}

export interface OwnedProcess {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  readonly pid: number;
  /** Resolves when it has ended and its pipes are closed; rejects when it could not be started. */
  readonly closed: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** Sends the signal and waits for the end. */
  stop(signal: NodeJS.Signals): Promise<void>;
}

/**
 * Starts a command with stdout and stderr as pipes. The end of `owner`, or of this process, kills it.
 * @param orphaned what the kernel sends it when this process dies without its exit handlers; null: nothing, which saves a
 * millisecond at its start
 */
export function startOwned(
  owner: Owner,
  [file, ...args]: readonly [string, ...string[]],
  env: Readonly<Record<string, string | undefined>>,
  orphaned: 'KILL' | 'TERM' | null = 'KILL',
): OwnedProcess {
  const [program, programArgs] = orphaned === null ? [file, args] : diesWithParent(orphaned, file, args);
  const child = spawn(program, programArgs, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const release = killAtExit(() => child.kill('SIGKILL'));
  const closed = once(child, 'close').then(([code = null, signal = null]) => ({ code, signal }));
  const gone = closed
    .catch(() => {}) // it never started
    .finally(release);
  const stop = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    await gone;
  };
  owner.after(() => stop('SIGKILL'));
  return { child, pid: child.pid ?? 0, closed, stop };
}

/** Sends SIGSTOP and waits until each thread has stopped: one that runs on another processor can still answer a call. */
export async function pauseProcess(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  const threadState = (thread: string) => /\) (\S)/.exec(readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8'))?.[1];
  await until(`process ${pid} has stopped`, 5_000, () =>
    readdirSync(`/proc/${pid}/task`).every((thread) => threadState(thread) === 'T'),
  );
}
