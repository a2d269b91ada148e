import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { Clock } from './clock.ts';
import { DeadlineError, withDeadline } from './deadline.ts';
import { describeError, RollcallError } from './errors.ts';
import { printable } from './foreign-text.ts';

export interface BoundedOutput {
  text(): string;
  /** True when there was more than was kept. */
  truncated(): boolean;
}

/**
 * Between two reads of what is only dropped: some 13 MB/s of a pipe's 64 kB. Reading a flood as fast as it comes would
 * cost more than half a core and twice the memory of this process.
 */
const DROP_PAUSE_MS = 5;

/** Reads streams to their end, all into one text in the order of arrival; what exceeds `maxBytes` is read and dropped. */
export function collectOutput(streams: readonly (Readable | null)[], maxBytes: number, clock: Clock): BoundedOutput {
  const chunks: Buffer[] = [];
  let keptBytes = 0;
  let truncated = false;
  for (const stream of streams) {
    // A pipe that breaks has ended; whatever ended it shows in the exit status.
    stream?.on('error', () => {});
    stream?.on('data', (chunk: Buffer) => {
      // A copy: a small part of a chunk would keep all of it in memory.
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
    // `stream` leaves out the character that the bound cut in two.
    text: () => new TextDecoder().decode(Buffer.concat(chunks), { stream: true }),
    truncated: () => truncated,
  };
}

/** How long whoever still holds a pipe has between being asked, or left alone, and being killed. */
const GRACE_MS = 500;

export interface CommandRun {
  readonly argv: readonly [string, ...string[]];
  /** Written to the child's stdin, which then ends. Without it stdin is empty. */
  readonly stdin?: string;
  /** The child's whole environment; the program is looked up on its PATH. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs: number;
  /** Of stdout and stderr together; the rest is read and dropped, so that the child can go on. */
  readonly maxOutputBytes: number;
  /**
   * `separate`: stderr goes to `errors` of the result, with a limit of its own. `inherit`: the child writes where we
   * write, and `output` of the result is empty.
   */
  readonly output: 'capture' | 'separate' | 'inherit';
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface CommandResult {
  /** Null when a signal ended it, or when not even SIGKILL could. */
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
 * Runs a program without a shell, in a process group of its own, of which nobody outlives the run: after `timeoutMs`
 * or an abort all get SIGTERM, and SIGKILL 500 ms later. When the program ends by itself, what it left behind has 500 ms
 * to finish its output and is killed then; whatever is to stay must leave the group (`setsid`). Settles within
 * `timeoutMs` + 1 s.
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
  // A child that does not read what it is given is free to do so.
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
  // Also when the pipes are closed: those that never had them are still to go.
  signalGroup(child.pid, 'SIGKILL');
  // A kill takes a moment. Who is not gone then left the group with a pipe in its hand, or hangs in the kernel.
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
  } catch {} // nobody is left, or they run as somebody else by now
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
  try {
    const child = spawn(program, args, {
      env: run.env,
      detached: true,
      stdio: [run.stdin === undefined ? 'ignore' : 'pipe', out, out],
    });
    const failure = new Promise((_, reject) => child.on('error', reject));
    // Without a process id `error` follows; with one it started, and nothing else is reported this way.
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
