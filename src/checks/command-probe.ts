import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { findProgram } from '../lib/find-program.ts';
import { printable } from '../lib/foreign-text.ts';
import { type CommandResult, runCommand } from '../lib/run-command.ts';
import { type Observation, reasonFrom } from './check.ts';
import { chooseCoreFilter, type FindLeftBehind, RUN_MARK } from './left-behind.ts';
import { type ExecCheckConfig, noAnswer, type OpenProbe } from './probe.ts';

interface CommandProbeOptions {
  readonly check: ExecCheckConfig;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Names this agent process: another one on the machine may run a check of the same name. */
  readonly owner: string;
  /** Another one for each check. */
  readonly ordinal: number;
  readonly findLeftBehind: FindLeftBehind;
}

/**
 * So many processes of earlier runs may be left: with all of a node's checks still far fewer than the unit lets the agent
 * and its children have (`--pids-limit`).
 */
const MAX_LEFT_BEHIND = 2;
/** A process in the kernel can keep a read of /proc waiting. */
const FIND_LIMIT_MS = 1_000;

/** Only the first line of the output is used. */
const MAX_OUTPUT_BYTES = 4_096;

/**
 * Runs an operator's command. Exit status 0 is passing, 1 is warning, any other is critical, as in Nagios and Consul:
 * https://nagios-plugins.org/doc/guidelines.html#AEN78
 */
export function commandProbe(options: CommandProbeOptions): OpenProbe {
  const { check, intervalMs, timeoutMs, clock, owner, findLeftBehind } = options;
  const { coreFilter, startMarked } = chooseCoreFilter(options.ordinal);
  const mark = { variable: `${check.name} ${owner}`, coreFilter };
  const env = { ...options.env, [RUN_MARK]: mark.variable };
  const running = new Set<Promise<unknown>>();
  let hasRun = false;
  /** Of the last run that ended. */
  let isCritical = false;
  const leftBehind = async (signal: AbortSignal): Promise<readonly number[]> => {
    try {
      return await withDeadline(clock, FIND_LIMIT_MS, signal, 'find processes', () => findLeftBehind(mark));
    } catch {
      signal.throwIfAborted();
      return []; // the machine is too busy to say; the next run asks again
    }
  };
  return {
    name: check.name,
    intervalMs,
    timeoutMs,
    async run(signal) {
      const { argv } = check;
      if (findProgram(argv[0], options.env['PATH']) === null) return noProgram(argv[0], isCritical);
      // Before the first run nothing can be left.
      const left = hasRun ? await leftBehind(signal) : [];
      if (left.length >= MAX_LEFT_BEHIND) return notRun(left, isCritical);
      hasRun = true;
      const run = runCommand({
        ...{ argv, env, timeoutMs, maxOutputBytes: MAX_OUTPUT_BYTES, output: 'capture', clock, signal },
        startWithin: startMarked,
      });
      running.add(run);
      try {
        const seen = judgeResult(await run, timeoutMs);
        isCritical = seen.status === 'critical';
        return seen;
      } finally {
        running.delete(run);
      }
    },
    // The caller may not have waited for an aborted run, but its child processes are still being killed.
    close: () => Promise.allSettled(running),
  };
}

/**
 * Pure. Told as a result, since an agent that ended for it would take a whole fleet off the roll by one wrong setting. A
 * warning, as for `notRun`: a critical one would also drain nodes, where that is asked for.
 */
function noProgram(program: string, isCritical: boolean): Observation {
  const what = program.includes('/') ? 'an executable file' : 'a program on PATH';
  const name = printable(program).slice(0, 80);
  return {
    status: isCritical ? 'critical' : 'warning',
    reason: `"${name}" is not ${what} where the agent runs; in a container it has to be mounted`,
  };
}

/** Pure. A warning: the node may be well, but nothing looks whether it is. One that was critical has not become better. */
function notRun(left: readonly number[], isCritical: boolean): Observation {
  const few = left.toSorted((a, b) => a - b).slice(0, 5);
  const which = `${few.join(', ')}${left.length > few.length ? ' …' : ''}`;
  // Their ids in the agent's own container, if it has one: on the host they are others.
  const reason = `not run: processes ${which}, as the agent numbers them, of earlier runs are left; end them, and let the command start none with setsid`;
  return { status: isCritical ? 'critical' : 'warning', reason };
}

/** Pure. The output of a passing command is not used, because many plugins print numbers that change on every run. */
function judgeResult(result: CommandResult, timeoutMs: number): Observation {
  if (result.timedOut) return noAnswer(timeoutMs);
  if (result.status === 0) return { status: 'passing', reason: '' };
  const ending = result.status === null ? `ended by ${result.signal}` : `exit status ${result.status}`;
  return { status: result.status === 1 ? 'warning' : 'critical', reason: reasonFrom(result.output) || ending };
}
