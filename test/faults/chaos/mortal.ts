import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { killAtExit } from '../../support/owned-process.ts';
import { CLEAN_ENV } from '../../support/rollcall-process.ts';

/** Something that is killed without warning and started again. */
export interface Mortal {
  readonly name: string;
  kill(): Promise<void>;
  start(): Promise<void>;
  /** How it ended although the test did not kill it; null: it did not. */
  failure(): string | null;
}

export interface Command {
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
  /** A descriptor to append to; default: its output is thrown away. */
  readonly stdout?: number;
  readonly beforeStart?: () => void;
}

/** A process, started at once; the test's end kills it. */
export function startMortal(
  t: TestContext,
  { name, argv, env = {}, stdout, beforeStart = () => {} }: Command,
): Mortal & { pid(): number } {
  const [program, ...args] = argv;
  let child: ChildProcess | null = null;
  let ended: Promise<unknown> = Promise.resolve();
  let failure: string | null = null;

  async function start() {
    beforeStart();
    const started = spawn(program, args, {
      env: { ...CLEAN_ENV, ...env },
      stdio: ['ignore', stdout ?? 'ignore', 'pipe'],
    });
    let stderr = '';
    started.stderr?.on('data', (chunk) => {
      stderr = (stderr + chunk).slice(-2_000);
    });
    child = started;
    ended = once(started, 'exit').then(([code, signal]) => {
      if (child === started) failure = `${name} ended by itself (${code ?? signal}): ${stderr}`;
    });
  }

  async function kill() {
    const killed = child;
    child = null;
    killed?.kill('SIGKILL');
    await ended;
    // What it had started may hold the other end for a while.
    killed?.stderr?.destroy();
  }

  const release = killAtExit(() => child?.kill('SIGKILL'));
  t.after(async () => {
    release();
    await kill();
  });
  void start();
  return { name, kill, start, failure: () => failure, pid: () => child?.pid ?? 0 };
}
