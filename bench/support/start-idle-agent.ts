import type { BenchContext } from '../benchmark.ts';
import { launchCommand } from './launch-command.ts';
import { readLease } from './read-lease.ts';
import { startBenchAgent } from './start-bench-agent.ts';
import { startBenchNodes } from './start-bench-nodes.ts';
import { waitUntil } from './wait-until.ts';

/** What an agent does at its start is over by then. */
const SETTLED_MS = 3_000;

export interface IdleAgent {
  readonly url: string;
  readonly pid: number;
}

/** One agent on a simulated node, registered and idle: nobody has read from it yet. */
export async function startIdleAgent(context: BenchContext, storeUrl: string): Promise<IdleAgent> {
  const { nodes } = await startBenchNodes(context, 1);
  const [node] = nodes;
  if (!node) throw new Error('the simulator has no node');
  const { argv: command } = await launchCommand(context, 'agent');
  const { child, listening } = startBenchAgent(context, command, node, {
    args: ['--store', storeUrl],
    deathWatch: true,
  });
  const { url } = await listening;
  const limits = { everyMs: 50, limitMs: 10_000 };
  await waitUntil(context, 'the agent is registered', limits, async (signal) =>
    (await readLease(url, signal)).state === 'held' ? true : null,
  );
  await context.clock.sleep(SETTLED_MS, context.signal);
  return { url, pid: child.pid };
}
