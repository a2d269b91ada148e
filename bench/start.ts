import { withDeadline } from '../src/lib/deadline.ts';
import { type BenchContext, type Benchmark, type Figure, plainFigure, quantile } from './benchmark.ts';
import { type Launch, launchCommand, startChild } from './support/child.ts';
import { type BenchEtcd, type BenchNode, startBenchAgent, startBenchEtcd, startBenchNodes } from './support/fleet.ts';

const VISIBLE_LIMIT_MS = 20_000;
const LIMIT = { relation: 'under', value: 150 } as const;

/** From the start of an agent to its record in etcd, as another reader's watch sees it. */
export const start: Benchmark = {
  name: 'start',
  about:
    'from the exec of the agent (after the set-up check of scripts/rollcall) until a watch of another process hands out its record',
  async run(context) {
    const { warmups, runs } = context.quick ? { warmups: 1, runs: 3 } : { warmups: 2, runs: 15 };
    const etcd = await startBenchEtcd(context);
    const { nodes } = await startBenchNodes(context, 1);
    const [node] = nodes;
    if (!node) throw new Error('the simulator has no node');
    const launch = await launchCommand(context, 'agent');
    const rounds: Round[] = [];
    for (let round = 1 - warmups; round <= runs; round += 1) {
      const result = {
        bareMs: await bareNodeMs(context, launch.argv),
        ...(await agentMs(context, etcd, launch, node, round)),
      };
      if (round >= 1) rounds.push(result);
      context.progress(`${round < 1 ? 'warm-up' : `run ${round} of ${runs}`}: ${result.visibleMs.toFixed(0)} ms`);
    }
    return figures(rounds);
  },
};

interface Round {
  readonly bareMs: number;
  readonly listeningMs: number;
  readonly visibleMs: number;
}

function figures(rounds: readonly Round[]): Figure[] {
  const of = (key: keyof Round, share: number) =>
    quantile(
      rounds.map((round) => round[key]),
      share,
    );
  const peer = (share: number) => ({ name: 'node -e 0', measured: of('bareMs', share) });
  const visible = (share: number) => ({ unit: 'ms' as const, measured: of('visibleMs', share), peer: peer(share) });
  return [
    { name: 'exec to record visible, min', ...visible(0), limit: null },
    { name: 'exec to record visible, median', ...visible(0.5), limit: LIMIT },
    { name: 'exec to record visible, p90', ...visible(0.9), limit: LIMIT },
    plainFigure('exec to HTTP listening, median', 'ms', of('listeningMs', 0.5)),
  ];
}

async function bareNodeMs(context: BenchContext, [node = '']: readonly string[]): Promise<number> {
  const child = startChild(context, [node, '-e', '0']);
  const { endedMs } = await child.ended;
  return endedMs - child.startedMs;
}

/** Each round has its own prefix: the node was never registered there, as on a new instance. */
async function agentMs(
  context: BenchContext,
  etcd: BenchEtcd,
  launch: Launch,
  node: BenchNode,
  round: number,
): Promise<{ visibleMs: number; listeningMs: number }> {
  const { clock, signal } = context;
  const prefix = `/bench-${round}`;
  const store = await etcd.open(prefix);
  const { revision } = await store.read(signal);
  const visible = withDeadline(clock, VISIBLE_LIMIT_MS, signal, 'see the record', async (deadline) => {
    for await (const { changes } of store.watch(revision, deadline)) {
      if (changes.some((change) => change.kind === 'record' && change.record !== null)) return clock.monotonicMs();
    }
    throw new Error('the watch ended');
  });
  visible.catch(() => {}); // the failure of an agent that does not start is reported first
  const options = { args: ['--store', `${etcd.url}${prefix}`], deathWatch: false };
  const { child, listening } = startBenchAgent(context, launch, node, options);
  const { heardMs } = await listening;
  const visibleMs = (await visible) - child.startedMs;
  await child.stop('SIGTERM'); // it departs, so that no lease ends during a later round
  await store.close();
  return { visibleMs, listeningMs: heardMs - child.startedMs };
}
