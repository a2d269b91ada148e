import { fileURLToPath } from 'node:url';
import { withDeadline } from '../../src/lib/deadline.ts';
import type { BenchContext } from '../benchmark.ts';
import { type Arrivals, noteArrivals } from './arrivals.ts';
import { startChild } from './child.ts';

const PROGRAM = fileURLToPath(new URL('./event-readers.ts', import.meta.url));
const OPEN_LIMIT_MS = 60_000;

/**
 * Runs a command that prints a line for each change, and notes when each revision comes out of its pipe.
 * @param marker the text before a revision in its output
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

export interface EventReaders {
  readonly pid: number;
  /** Ends them. @returns when each revision reached them */
  stop(): Promise<Arrivals>;
}

/**
 * Readers of an agent's events in a process of their own. Resolves when all of them have an answer.
 * @param silent how many more send their request and never read
 */
export async function startEventReaders(
  context: BenchContext,
  url: string,
  { readers, silent }: { readonly readers: number; readonly silent: number },
): Promise<EventReaders> {
  const opened = Promise.withResolvers<void>();
  let output = '';
  let complaint = '';
  const child = startChild(context, [process.execPath, PROGRAM, url, String(readers), String(silent)], {
    deathWatch: true,
    onStdout: (chunk) => {
      output += chunk;
      if (output.startsWith('open\n')) opened.resolve();
    },
    onStderr: (chunk) => {
      complaint = (complaint + chunk).slice(0, 1_000);
    },
  });
  child.ended.then(
    ({ code }) => opened.reject(new Error(`the readers ended with ${code}: ${complaint}`)),
    opened.reject,
  );
  await withDeadline(context.clock, OPEN_LIMIT_MS, context.signal, `open ${readers} readers`, () => opened.promise);
  return {
    pid: child.pid,
    async stop() {
      await child.stop('SIGTERM');
      const seen = output.slice('open\n'.length);
      if (seen === '') throw new Error(`the readers ended early: ${complaint}`);
      return new Map(JSON.parse(seen));
    },
  };
}
