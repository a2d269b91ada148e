import type { Clock } from '../lib/clock.ts';
import { type CommandResult, runCommand } from '../lib/run-command.ts';
import { type Observation, reasonFrom } from './check.ts';
import { type ExecCheckConfig, noAnswer, type OpenProbe } from './probe.ts';

interface CommandProbeOptions {
  readonly check: ExecCheckConfig;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}

/** Only the first line of the output is used. */
const MAX_OUTPUT_BYTES = 4_096;

/**
 * Runs an operator's command. Exit status 0 is passing, 1 is warning, any other is critical, as in Nagios and Consul:
 * https://nagios-plugins.org/doc/guidelines.html#AEN78
 */
export function commandProbe(options: CommandProbeOptions): OpenProbe {
  const { check, intervalMs, timeoutMs, env, clock } = options;
  const running = new Set<Promise<unknown>>();
  return {
    name: check.name,
    intervalMs,
    timeoutMs,
    async run(signal) {
      const { argv } = check;
      const output = 'capture';
      const run = runCommand({ argv, env, timeoutMs, maxOutputBytes: MAX_OUTPUT_BYTES, output, clock, signal });
      running.add(run);
      try {
        return judgeResult(await run, timeoutMs);
      } finally {
        running.delete(run);
      }
    },
    // The caller may not have waited for an aborted run, but its child processes are still being killed.
    close: () => Promise.allSettled(running),
  };
}

/** Pure. The output of a passing command is not used, because many plugins print numbers that change on every run. */
function judgeResult(result: CommandResult, timeoutMs: number): Observation {
  if (result.timedOut) return noAnswer(timeoutMs);
  if (result.status === 0) return { status: 'passing', reason: '' };
  const ending = result.status === null ? `ended by ${result.signal}` : `exit status ${result.status}`;
  return { status: result.status === 1 ? 'warning' : 'critical', reason: reasonFrom(result.output) || ending };
}
