import type { CliContext } from '../../src/cli/context.ts';
import { runProgram } from '../../src/cli/program.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import type { Finished } from './rollcall-process.ts';

/** What a command gets of a process; what it says is added to `said`. Help goes to `stdout` too. */
export function testContext(
  said: { stdout: string; stderr: string },
  env: Readonly<Record<string, string>> = {},
): CliContext {
  return {
    env,
    version: 'test',
    clock: systemClock,
    random: Math.random,
    stdout: async (text) => {
      said.stdout += text;
    },
    stderr: (line) => {
      said.stderr += `${line}\n`;
    },
    onStopSignal: () => {},
    signal: new AbortController().signal,
    residentBytes: () => 0,
    self: [process.execPath],
  };
}

/** The system's clock, on which a command that follows an agent soon sees that its roll is old. */
export const soonStale: Clock = {
  ...systemClock,
  // Only the pause between two polls is shorter.
  sleep: (ms, signal) => systemClock.sleep(ms === 5_000 ? 50 : ms, signal),
};

/** `rollcall ARGS…` in this process, so that it can read a `memory:` store of the test. */
export async function runInProcess(
  args: readonly string[],
  { env = {}, columns }: { readonly env?: Record<string, string>; readonly columns?: number } = {},
): Promise<Finished> {
  const said = { stdout: '', stderr: '' };
  const before = Object.keys(env).map((name) => [name, process.env[name]] as const);
  // commander reads variables there.
  Object.assign(process.env, env);
  try {
    return { code: await runProgram(args, { ...testContext(said, env), columns }), ...said };
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}
