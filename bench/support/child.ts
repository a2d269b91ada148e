import { readFile } from 'node:fs/promises';
import { abortable } from '../../src/lib/abort.ts';
import { startSilentServer } from '../../test/support/etcd-impostors.ts';
import { until } from '../../test/support/machine-time.ts';
import { startOwned } from '../../test/support/owned-process.ts';
import { SCRIPT } from '../../test/support/rollcall-process.ts';
import type { BenchContext } from '../benchmark.ts';

export interface ChildOptions {
  /** Besides PATH; a developer's own ROLLCALL_ and AWS_ settings are left out. */
  readonly env?: Readonly<Record<string, string>>;
  readonly onStdout?: (chunk: Buffer) => void;
  readonly onStderr?: (chunk: Buffer) => void;
  /** The kernel ends the child when this process dies. Costs a millisecond at its start, so timed children go without. */
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

/** Runs a command and reads its output. The end of the benchmark kills it. */
export function startChild(
  { clock, signal, cleanup }: BenchContext,
  command: readonly string[],
  { env = {}, onStdout, onStderr, deathWatch = false }: ChildOptions = {},
): Child {
  signal.throwIfAborted();
  const [program = '', ...args] = command;
  const startedMs = clock.monotonicMs();
  const orphaned = deathWatch ? 'KILL' : null;
  const { child, pid, closed, stop } = startOwned(
    cleanup,
    [program, ...args],
    { PATH: process.env['PATH'] ?? '', ...env },
    orphaned,
  );
  child.stdout.on('data', onStdout ?? (() => {}));
  child.stderr.on('data', onStderr ?? (() => {}));
  const timed = closed.then(({ code }) => ({ code, endedMs: clock.monotonicMs() }));
  const ended = abortable(timed, signal);
  ended.catch(() => {}); // not every caller waits for it
  return { pid, startedMs, ended, stop };
}

export interface Launch {
  /** The program with its runtime flags, without COMMAND. */
  readonly argv: readonly string[];
  /** The runtime's own variables: where it keeps compiled code of what the build has not compiled. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * What `scripts/rollcall COMMAND` becomes after its set-up check. Read from the running process, so that the benchmarks
 * measure what users run.
 */
export async function launchCommand(context: BenchContext, command: 'agent' | 'list' | 'watch'): Promise<Launch> {
  // A store that never answers keeps the command running until it is read.
  const silent = await startSilentServer();
  context.cleanup.after(() => silent.close());
  const nowhere = [
    '--metadata-endpoint',
    silent.url,
    '--introspection-endpoint',
    silent.url,
    '--listen',
    '127.0.0.1:0',
  ];
  const args = [command, '--store', silent.url.replace('http:', 'etcd:'), ...(command === 'agent' ? nowhere : [])];
  let complaint = '';
  let exitCode: number | null | undefined;
  const child = startChild(context, [SCRIPT, ...args], {
    deathWatch: true,
    onStderr: (chunk) => {
      complaint = (complaint + chunk).slice(0, 500);
    },
  });
  child.ended.then(
    ({ code }) => {
      exitCode = code;
    },
    () => {}, // `until` ends by the same signal
  );
  let launch: Launch | null = null;
  const { signal } = context;
  const started = async () => {
    launch = await launchOf(child.pid, command);
    return launch !== null || exitCode !== undefined;
  };
  await until(`scripts/rollcall ${command} runs`, 30_000, started, { everyMs: 2, signal });
  await child.stop('SIGKILL');
  if (launch === null) {
    throw new Error(`scripts/rollcall ${command}: ended with ${exitCode} before it was running: ${complaint}`);
  }
  return launch;
}

/** null while the script has not replaced itself by the program. */
async function launchOf(pid: number, command: string): Promise<Launch | null> {
  const read = async (file: string) => (await readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')).split('\0');
  const argv = await read('cmdline');
  const end = argv.includes(SCRIPT) ? -1 : argv.indexOf(command);
  if (end === -1) return null;
  const runtime = (await read('environ')).map((line) => /^(NODE_[^=]*)=(.*)$/s.exec(line));
  const env = Object.fromEntries(runtime.flatMap((found) => (found ? [[found[1] ?? '', found[2] ?? '']] : [])));
  return { argv: argv.slice(0, end), env };
}

/**
 * Of one process, in MB of 10⁶ bytes. `anonymous`: the part of `resident` that is not from files; `peak`: the highest
 * value of `resident`.
 */
export interface ProcessMemory {
  readonly residentMb: number;
  readonly anonymousMb: number;
  readonly peakMb: number;
}

/** From `/proc/PID/status` (VmRSS, RssAnon, VmHWM; proc(5)); null when the process has ended. */
export async function processMemory(pid: number): Promise<ProcessMemory | null> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const fields = ['VmRSS', 'RssAnon', 'VmHWM'].map((name) => {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    return kibibytes === undefined ? null : (Number(kibibytes) * 1_024) / 1_000_000;
  });
  const [residentMb, anonymousMb, peakMb] = fields;
  // A zombie has a status without them.
  if (residentMb == null || anonymousMb == null || peakMb == null) return null;
  return { residentMb, anonymousMb, peakMb };
}

/** @throws Error when the process has ended */
export async function memoryOf(pid: number): Promise<ProcessMemory> {
  const found = await processMemory(pid);
  if (!found) throw new Error(`process ${pid} has ended`);
  return found;
}
