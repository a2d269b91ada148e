import type { BenchContext } from '../benchmark.ts';
import { type Child, startChild } from './child.ts';

const WORKERS = 4;
/** Thousands of agents share a heap: with the default each small collection of garbage is soon followed by the next. */
const FLAGS = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=64'];

/** A process that stands for many agents, and writes how they are, a JSON line now and then. */
export interface Worker<Report> {
  readonly child: Child;
  report(): Report;
}

/**
 * Starts `PROGRAM ARG… FIRST COUNT` so often that all agents have their share.
 * @param none what is reported before the first line
 */
export function startWorkers<Report>(
  context: BenchContext,
  agents: number,
  program: string,
  args: readonly string[],
  none: Report,
): Worker<Report>[] {
  return Array.from({ length: WORKERS }, (_, index) => {
    const first = Math.floor((agents * index) / WORKERS);
    const count = Math.floor((agents * (index + 1)) / WORKERS) - first;
    let newest = none;
    let rest = '';
    const child = startChild(context, [process.execPath, ...FLAGS, program, ...args, String(first), String(count)], {
      deathWatch: true,
      onStdout: (chunk) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        const line = lines.at(-1);
        if (line !== undefined) newest = JSON.parse(line);
      },
      onStderr: (chunk) => process.stderr.write(chunk),
    });
    return { child, report: () => newest };
  });
}
