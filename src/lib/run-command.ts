import type { ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { Clock } from './clock.ts';
import { DeadlineError, withDeadline } from './deadline.ts';
import { describeError, RollcallError } from './errors.ts';
import { printable } from './foreign-text.ts';

interface BoundedOutput {
  text(): string;
  /** true: there was more output than was kept. */
  truncated(): boolean;
}

/**
 * The pause between two reads of output that is dropped: about 13 MB/s with a pipe's 64 kB. Reading a flood at full speed
 * would cost more than half a core and twice this process's memory.
 */
const DROP_PAUSE_MS = 5;

/** Reads streams to their end into one text, in the order of arrival; output above `maxBytes` is read and dropped. */
function collectOutput(streams: readonly (Readable | null)[], maxBytes: number, clock: Clock): BoundedOutput {
  const chunks: Buffer[] = [];
  let keptBytes = 0;
  let truncated = false;
  for (const stream of streams) {
    // A broken pipe has ended; the exit status shows why.
    stream?.on('error', () => {});
    stream?.on('data', (chunk: Buffer) => {
      // A copy: a slice would keep its whole chunk in memory.
      const kept = Buffer.from(chunk.subarray(0, maxBytes - keptBytes));
      if (kept.length > 0) chunks.push(kept);
      keptBytes += kept.length;
      if (kept.length === chunk.length) return;
      truncated = true;
      stream.pause();
      void clock.sleep(DROP_PAUSE_MS, new AbortController().signal).then(() => stream.resume());
    });
  }
  return {
    // `stream` leaves out a character that the limit cut in two.
    text: () => new TextDecoder().decode(Buffer.concat(chunks), { stream: true }),
    truncated: () => truncated,
  };
}

/** How long the processes of a group have after SIGTERM, or after their program ended, before SIGKILL. */
const GRACE_MS = 500;

export interface CommandRun {
  readonly argv: readonly [string, ...string[]];
  /** Written to the child's stdin, which then ends. Default: stdin is empty. */
  readonly stdin?: string;
  /** The child's whole environment; its PATH is used to find the program. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs: number;
  /** Limit of stdout and stderr together; the rest is read and dropped, so that the child does not block. */
  readonly maxOutputBytes: number;
  /**
   * `separate`: stderr goes to `errors` of the result, with a limit of its own. `inherit`: the child writes where we
   * write, and `output` of the result is empty.
   */
  readonly output: 'capture' | 'separate' | 'inherit';
  /** Calls `start`, which starts the process, with what the process is to inherit from this one. Default: as it is. */
  readonly startWithin?: <T>(start: () => T) => T;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface CommandResult {
  /** null: a signal ended it, or not even SIGKILL did. */
  readonly status: number | null;
  readonly signal: string | null;
  readonly timedOut: boolean;
  /** stdout and stderr in the order in which they arrived, as UTF-8; only stdout for a `separate` run. */
  readonly output: string;
  /** stderr of a `separate` run. */
  readonly errors: string;
  /** True when there was more output than was kept. */
  readonly truncated: boolean;
}

/**
 * Runs a program without a shell, in its own process group. No process of the group outlives the run: after `timeoutMs` or
 * an abort all get SIGTERM, and SIGKILL 500 ms later. When the program ends by itself, processes that it left behind have
 * 500 ms to finish their output and are then killed; a process that must stay has to leave the group (`setsid`). Settles
 * within `timeoutMs` + 1 s.
 * @throws RollcallError when it cannot be started; the reason of `signal`, after the group has ended
 */
export async function runCommand(run: CommandRun): Promise<CommandResult> {
  const { clock, signal, timeoutMs } = run;
  signal.throwIfAborted();
  const child = await startChild(run);
  const separate = run.output === 'separate';
  const output = collectOutput(separate ? [child.stdout] : [child.stdout, child.stderr], run.maxOutputBytes, clock);
  const errors = collectOutput(separate ? [child.stderr] : [], run.maxOutputBytes, clock);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const closed = new Promise((resolve) => child.once('close', resolve));
  // A child does not have to read its stdin.
  child.stdin?.on('error', () => {});
  child.stdin?.end(run.stdin);
  let timedOut = false;
  try {
    await withDeadline(clock, timeoutMs, signal, run.argv[0], () => exited);
  } catch (error) {
    timedOut = !signal.aborted && error instanceof DeadlineError;
    signalGroup(child.pid, 'SIGTERM');
  }
  await settledWithin(GRACE_MS, closed, clock);
  // Also when the pipes are closed: processes without them may still run.
  signalGroup(child.pid, 'SIGKILL');
  // A kill takes a moment. A process that still has a pipe then has left the group, or hangs in the kernel.
  await settledWithin(GRACE_MS, closed, clock);
  for (const stream of child.stdio) stream?.destroy();
  child.unref();
  signal.throwIfAborted();
  return {
    status: child.exitCode,
    signal: child.signalCode,
    timedOut,
    output: output.text(),
    errors: errors.text(),
    truncated: output.truncated(),
  };
}

function signalGroup(groupId: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(-groupId, signal);
  } catch {} // no process is left, or they run as another user now
}

async function settledWithin(limitMs: number, work: Promise<unknown>, clock: Clock): Promise<void> {
  const timer = new AbortController();
  const late = clock.sleep(limitMs, timer.signal).catch(() => {}); // the work ended first and stopped the timer
  await Promise.race([work, late]);
  timer.abort();
}

type Started = ChildProcess & { readonly pid: number };

async function startChild(run: CommandRun): Promise<Started> {
  const [program, ...args] = run.argv;
  const out = run.output === 'inherit' ? 'inherit' : 'pipe';
  // Loaded here, because most agents run no command.
  const { spawn } = await import('node:child_process');
  try {
    const within = run.startWithin ?? ((start) => start());
    const child = within(() =>
      spawn(program, args, {
        env: run.env,
        detached: true,
        stdio: [run.stdin === undefined ? 'ignore' : 'pipe', out, out],
      }),
    );
    const failure = new Promise((_, reject) => child.on('error', reject));
    // Without a process id an `error` event follows; with one the program has started.
    if (child.pid === undefined) await failure;
    failure.catch(() => {});
    return child as Started;
  } catch (error) {
    throw new RollcallError(`cannot start ${printable(program)}: ${startFailure(error)}`);
  }
}

function startFailure(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such program, or the interpreter that its first line names is missing';
  if (code === 'EACCES') return 'it is not an executable file';
  if (code === 'E2BIG') return 'its arguments and environment are longer than the system allows';
  return describeError(error);
}
