import { runProgram } from '../../src/cli/program.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { Finished } from './rollcall-process.ts';

/** `rollcall ARGS…` in this process, so that it can read a `memory:` store of the test. Help goes to `stdout` too. */
export async function runInProcess(
  args: readonly string[],
  { env = {}, columns }: { readonly env?: Record<string, string>; readonly columns?: number } = {},
): Promise<Finished> {
  let stdout = '';
  let stderr = '';
  const before = { ...process.env };
  // commander reads variables there.
  Object.assign(process.env, env);
  const code = await runProgram(args, {
    env,
    version: 'test',
    clock: systemClock,
    random: Math.random,
    stdout: async (text) => {
      stdout += text;
    },
    stderr: (line) => {
      stderr += `${line}\n`;
    },
    onStopSignal: () => {},
    signal: new AbortController().signal,
    residentBytes: () => 0,
    columns,
    self: [process.execPath],
  });
  process.env = before;
  return { code, stdout, stderr };
}
