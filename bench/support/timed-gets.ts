import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import type { BenchContext } from '../benchmark.ts';
import { startChild } from './child.ts';

const PROGRAM = fileURLToPath(new URL('./http-reader.ts', import.meta.url));

export interface TimedGet {
  /** Until the first byte of the body, and until its last. */
  readonly firstMs: number;
  readonly wholeMs: number;
  readonly bytes: number;
}

interface ReaderOptions {
  /** Default: until it is stopped. */
  readonly count?: number;
  /** Between an answer and the next request; default 0. */
  readonly pauseMs?: number;
  readonly encoding?: 'gzip' | 'identity';
}

const output = v.array(v.tuple([v.number(), v.number(), v.number()]));

/** Asks again and again on one connection, in a process of its own. */
export function startHttpReader(
  context: BenchContext,
  url: string,
  { count = 0, pauseMs = 0, encoding = 'identity' }: ReaderOptions,
) {
  let printed = '';
  let complaint = '';
  const command = [process.execPath, PROGRAM, url, String(count), String(pauseMs), encoding];
  const child = startChild(context, command, {
    deathWatch: true,
    onStdout: (chunk) => {
      printed += chunk;
    },
    onStderr: (chunk) => {
      complaint = (complaint + chunk).slice(0, 1_000);
    },
  });
  const answers = async (): Promise<readonly TimedGet[]> => {
    const { code } = await child.ended;
    if (code !== 0) throw new Error(`GET ${url}: the reader ended with ${code}: ${complaint}`);
    return v.parse(output, JSON.parse(printed)).map(([firstMs, wholeMs, bytes]) => ({ firstMs, wholeMs, bytes }));
  };
  return {
    answers,
    async stop() {
      await child.stop('SIGTERM');
      return answers();
    },
  };
}

/** So many answers, one after another. */
export async function timedGets(
  context: BenchContext,
  url: string,
  options: ReaderOptions & { readonly count: number },
): Promise<readonly TimedGet[]> {
  return startHttpReader(context, url, options).answers();
}
