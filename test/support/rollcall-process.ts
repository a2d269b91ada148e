import { type ChildProcess, execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from './machine-time.ts';
import { startOwned } from './owned-process.ts';

/** `scripts/rollcall`. */
export const SCRIPT = fileURLToPath(new URL('../../scripts/rollcall', import.meta.url));

/** An environment without a developer's own ROLLCALL_ or AWS_ settings, nor what a unit or a proxy would make of it. */
export const CLEAN_ENV = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(ROLLCALL|AWS|NODE)_|^NOTIFY_SOCKET$|_proxy$/i.test(name)),
);

/**
 * For what surely comes, and soon: a wait that is in vain fails after it. What is promised within a time is not this,
 * but the promise and what a busy machine may take on top of it.
 */
export const PATIENCE_MS = 30_000;

/** No command takes as long, not on the busiest machine: one that does hangs. */
const COMMAND_LIMIT_MS = 300_000;

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `scripts/rollcall ARGS…` to its end. */
export function rollcall(args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  return new Promise((resolve) => {
    const options = { env: { ...CLEAN_ENV, ...env }, timeout: COMMAND_LIMIT_MS, maxBuffer: 64 * 1024 * 1024 };
    const child = execFile(SCRIPT, [...args], options, (_, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

export interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves when the process has ended. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/**
 * Starts `scripts/rollcall ARGS…`; the test's end kills what is left of it.
 * @param orphaned what it gets when this process dies first: with TERM it can end what it started itself
 */
export function startRollcall(
  t: TestContext,
  args: readonly string[],
  env: Record<string, string> = {},
  orphaned: 'KILL' | 'TERM' = 'KILL',
): Running {
  const { child, pid } = startOwned(t, [SCRIPT, ...args], { ...CLEAN_ENV, ...env }, orphaned);
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => (output.stdout += chunk));
  child.stderr.on('data', (chunk) => (output.stderr += chunk));
  const ended = once(child, 'exit').then(([code, signal]) => ({ code, signal }));
  return { child, pid, stdout: () => output.stdout, stderr: () => output.stderr, ended };
}

export interface SimulatedFleet {
  readonly dir: string;
  /** What an agent needs in its environment to run on node `n`, counted from 1. */
  environment(n: number): Promise<Record<string, string>>;
  readonly instanceIds: readonly string[];
  setFaults(instanceId: string, faults: Record<string, string>): Promise<void>;
}

/** `rollcall simulate` in a process of its own, with free ports. */
export async function startFleet(t: TestContext, nodes: number): Promise<SimulatedFleet> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-e2e-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const simulator = startRollcall(t, ['simulate', '--nodes', String(nodes), '--dir', dir, '--listen-base', '0']);
  await until('the simulator is up', 30_000, () => simulator.stdout().includes('Ctrl-C'));
  const control = /http:\S+\/nodes/.exec(simulator.stdout())?.[0] ?? '';
  return {
    dir,
    instanceIds: simulator.stdout().match(/\bi-[0-9a-f]{17}\b/g) ?? [],
    async environment(n) {
      const lines = (await readFile(join(dir, `node-${n}.env`), 'utf8')).trim().split('\n');
      return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
    },
    async setFaults(instanceId, faults) {
      const answer = await fetch(`${control}/${instanceId}/faults`, { method: 'PUT', body: JSON.stringify(faults) });
      if (!answer.ok) throw new Error(await answer.text());
    },
  };
}

/** The address an agent says it answers on, once it does. */
export async function agentUrl(agent: Running): Promise<string> {
  await until('the agent answers', 30_000, () => agent.stderr().includes('answers on'));
  return /"url":"(http:[^"]+)"/.exec(agent.stderr())?.[1] ?? '';
}

/** instance id → state, of everything on the roll. */
export async function rollStates(store: string): Promise<Record<string, string>> {
  const { code, stdout, stderr } = await rollcall([
    'list',
    '--all',
    '--fields',
    'instance,state',
    '--no-legend',
    '--store',
    store,
  ]);
  if (code !== 0) throw new Error(stderr);
  return Object.fromEntries(
    stdout
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split(/\s+/)),
  );
}

/** A GET of an agent: status and JSON body, typed as loosely as `JSON.parse` does. */
export async function getJson(
  url: string,
  signal?: AbortSignal,
): Promise<{ status: number; body: ReturnType<typeof JSON.parse> }> {
  const answer = await fetch(url, { signal: signal ?? null });
  return { status: answer.status, body: JSON.parse(await answer.text()) };
}
