import type { BenchContext } from '../benchmark.ts';
import { type Arrivals, noteArrivals } from './arrivals.ts';
import { startChild } from './start-child.ts';

/**
 * Runs a command that prints a line for each change, and notes when the revisions come out of its pipe.
 * @param marker what stands before a revision in its output
 */
export function followLines(context: BenchContext, command: readonly string[], marker: string): Arrivals {
  const arrivals: Arrivals = new Map();
  startChild(context, command, {
    deathWatch: true,
    onStdout: noteArrivals(marker, arrivals, context.clock.monotonicMs),
    onStderr: (chunk) => context.progress(String(chunk).trim()),
  });
  return arrivals;
}
