import { withDeadline } from '../../src/lib/deadline.ts';
import type { BenchContext } from '../benchmark.ts';
import type { BenchNode } from './start-bench-nodes.ts';
import { type Child, startChild } from './start-child.ts';

const START_LIMIT_MS = 20_000;
/** Enough of a log to say why an agent ended. */
const MAX_LOG_CHARS = 4_000;

export interface BenchAgent {
  readonly child: Child;
  /** Resolves when the agent logs the address that it answers on; `heardMs` is when we read the line. */
  readonly listening: Promise<{ readonly url: string; readonly heardMs: number }>;
}

/** Starts a real agent on a simulated node. `listening` rejects when it ends or says nothing for 20 s. */
export function startBenchAgent(
  context: BenchContext,
  command: readonly string[],
  node: BenchNode,
  { args, deathWatch }: { readonly args: readonly string[]; readonly deathWatch: boolean },
): BenchAgent {
  const { clock, signal } = context;
  const heard = Promise.withResolvers<{ url: string; heardMs: number }>();
  let log = '';
  const child = startChild(context, [...command, 'agent', ...args], {
    env: node.env,
    deathWatch,
    onStderr: (chunk) => {
      log = (log + chunk).slice(-MAX_LOG_CHARS);
      const url = /"url":"(http:[^"]+)"/.exec(log)?.[1];
      if (url !== undefined) heard.resolve({ url, heardMs: clock.monotonicMs() });
    },
  });
  child.ended.then(({ code }) => heard.reject(new Error(`the agent ended with ${code}: ${log}`)), heard.reject);
  const listening = withDeadline(clock, START_LIMIT_MS, signal, 'start the agent', () => heard.promise);
  listening.catch(() => {}); // nobody need wait for it
  return { child, listening };
}
