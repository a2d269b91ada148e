import { type BenchContext, type Benchmark, plainFigure, quantile } from './benchmark.ts';
import { type Launch, launchCommand, processMemory, startChild } from './support/child.ts';
import { registerNodes, startBenchEtcd } from './support/fleet.ts';

const MEMORY_READ_MS = 5;

/** `rollcall list` of a large roll against etcd's own client reading the same keys. */
export const list: Benchmark = {
  name: 'list',
  about:
    'rollcall list against etcdctl get --prefix of the same keys, in turns, each to a pipe that is read to its end',
  async run(context) {
    const { nodes, warmups, pairs } = context.quick
      ? { nodes: 500, warmups: 1, pairs: 2 }
      : { nodes: 10_000, warmups: 1, pairs: 31 };
    const etcd = await startBenchEtcd(context);
    const store = await etcd.open();
    context.progress(`registering ${nodes} nodes`);
    await registerNodes(context, store, nodes);
    await store.close();

    const rollcall = await launchCommand(context, 'list');
    const text = [...rollcall.argv, 'list', '--store', etcd.url];
    const json = [...text, '-o', 'json'];
    const etcdctl = etcdctlGet(etcd.server.clientUrl);
    const rounds: { textMs: number; etcdctlMs: number; jsonMs: number }[] = [];
    for (let round = 1 - warmups; round <= pairs; round += 1) {
      const result = {
        textMs: await timeRun(context, text, rollcall.env, nodes),
        etcdctlMs: await timeRun(context, etcdctl, {}, nodes),
        jsonMs: await timeRun(context, json, rollcall.env, nodes),
      };
      if (round >= 1) rounds.push(result);
      context.progress(
        `${round < 1 ? 'warm-up' : `pair ${round} of ${pairs}`}: ${result.textMs.toFixed(0)} ms, etcdctl ${result.etcdctlMs.toFixed(0)} ms`,
      );
    }
    const median = (value: (round: (typeof rounds)[number]) => number) => quantile(rounds.map(value), 0.5);
    const peer = { name: 'etcdctl', measured: median((round) => round.etcdctlMs) };
    return [
      {
        name: `list of ${nodes} against etcdctl, median ratio`,
        unit: 'times',
        measured: median((round) => round.textMs / round.etcdctlMs),
        limit: { relation: 'at most', value: 1.3 },
        peer: null,
      },
      { name: 'list, median', unit: 'ms', measured: median((round) => round.textMs), limit: null, peer },
      { name: 'list -o json, median', unit: 'ms', measured: median((round) => round.jsonMs), limit: null, peer },
      plainFigure('list, peak resident', 'MB', await peakMb(context, text, rollcall.env)),
      plainFigure('list -o json, peak resident', 'MB', await peakMb(context, json, rollcall.env)),
    ];
  },
};

/** etcd's own client reading all keys of the roll. */
export function etcdctlGet(url: string): readonly string[] {
  return ['etcdctl', `--endpoints=${url}`, 'get', '--prefix', '/rollcall/v1/'];
}

/** From the fork until it has ended and all of its output is read, which must name that many nodes. */
export async function timeRun(
  context: BenchContext,
  command: readonly string[],
  env: Launch['env'],
  nodes: number,
): Promise<number> {
  let lines = 0;
  let complaint = '';
  const child = startChild(context, command, {
    env,
    onStdout: (chunk) => {
      for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) lines += 1;
    },
    onStderr: (chunk) => {
      complaint = (complaint + chunk).slice(0, 500);
    },
  });
  const { code, endedMs } = await child.ended;
  if (code === 0 && lines >= nodes) return endedMs - child.startedMs;
  throw new Error(`${command.join(' ')}: exit status ${code}, ${lines} lines for ${nodes} nodes: ${complaint}`);
}

/** In a run of its own: reading the memory every few milliseconds would slow down a timed run. */
async function peakMb(context: BenchContext, command: readonly string[], env: Launch['env']): Promise<number> {
  const child = startChild(context, command, { env });
  let peak = 0;
  // The kernel keeps the highest value, so only growth after the last read is missed.
  for (let seen = await processMemory(child.pid); seen; seen = await processMemory(child.pid)) {
    peak = Math.max(peak, seen.peakMb);
    await context.clock.sleep(MEMORY_READ_MS, context.signal);
  }
  await child.ended;
  return peak;
}
