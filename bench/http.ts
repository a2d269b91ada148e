import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import { type BenchContext, type Benchmark, type Figure, plainFigure, quantile } from './benchmark.ts';
import { etcdctlGet, timeRun } from './list.ts';
import { launchCommand, memoryOf, startChild } from './support/child.ts';
import { registerNodes, startBenchEtcd, startIdleAgent } from './support/fleet.ts';
import { startHttpReader, timedGets } from './support/timed-gets.ts';

const MEASURE_VIEW = fileURLToPath(new URL('./support/measure-view.ts', import.meta.url));
/** By then the agent has the roll and is idle. */
const IDLE_AFTER_MS = 3_000;
const COLD_LIMIT = { relation: 'under', value: 1_000 } as const;
const WARM_LIMIT = { relation: 'under', value: 100 } as const;
const ETCDCTL_LIMIT = { relation: 'at most', value: 0.5 } as const;
/** An agent ends a connection after 1,000 requests, and the reader has one. */
const PROBE_EVERY_MS = 50;
const VIEW_LIMIT = { relation: 'at most', value: 3_000 } as const;

/** What serving a large roll over HTTP costs an agent. */
export const http: Benchmark = {
  name: 'http',
  about:
    'GET /v1/containerInstances of one agent by another process, until the last byte is out of its socket: the first ever (cold), then again and again on one connection, while a third process asks for /healthz; then in turns with etcdctl get --prefix of the same nodes; the view is measured in a process that holds only it, all garbage collected',
  async run(context) {
    const { nodes, reads, pairs } = context.quick
      ? { nodes: 500, reads: 3, pairs: 2 }
      : { nodes: 10_000, reads: 200, pairs: 15 };
    const etcd = await startBenchEtcd(context);
    const store = await etcd.open();
    context.progress(`registering ${nodes} nodes`);
    await registerNodes(context, store, nodes);
    await store.close();
    const agent = await startIdleAgent(context, etcd.url);
    const url = `${agent.url}/v1/containerInstances`;
    const one = async () => first(await timedGets(context, url, { count: 1 }));

    const idle = await memoryOf(agent.pid);
    const cold = await one();
    await context.clock.sleep(IDLE_AFTER_MS, context.signal);
    const holding = await memoryOf(agent.pid);
    const probes = startHttpReader(context, `${agent.url}/healthz`, { pauseMs: PROBE_EVERY_MS });
    const warm = await timedGets(context, url, { count: reads });
    const zipped = await timedGets(context, url, { count: reads, encoding: 'gzip' });
    const probed = (await probes.stop()).map(({ wholeMs }) => wholeMs);
    const read = await memoryOf(agent.pid);
    const ratios: number[] = [];
    for (let pair = 0; pair < pairs; pair += 1) {
      const { wholeMs } = await one();
      ratios.push(wholeMs / (await timeRun(context, etcdctlGet(etcd.server.clientUrl), {}, nodes)));
    }
    const warmMs = warm.map(({ wholeMs }) => wholeMs);
    const zippedMs = zipped.map(({ wholeMs }) => wholeMs);
    return [
      { name: `cold, ${nodes} nodes`, unit: 'ms', measured: cold.wholeMs, limit: COLD_LIMIT, peer: null },
      plainFigure('cold, first byte', 'ms', cold.firstMs),
      plainFigure('warm, median', 'ms', quantile(warmMs, 0.5)),
      { name: 'warm, p99', unit: 'ms', measured: quantile(warmMs, 0.99), limit: WARM_LIMIT, peer: null },
      { name: 'warm, gzip, p99', unit: 'ms', measured: quantile(zippedMs, 0.99), limit: WARM_LIMIT, peer: null },
      plainFigure('body, gzip', 'MB', first(zipped).bytes / 1e6),
      {
        name: 'warm, against etcdctl, median ratio',
        unit: 'times',
        measured: quantile(ratios, 0.5),
        limit: ETCDCTL_LIMIT,
        peer: null,
      },
      plainFigure('/healthz meanwhile, median', 'ms', quantile(probed, 0.5)),
      plainFigure('/healthz meanwhile, max', 'ms', quantile(probed, 1)),
      plainFigure('body', 'MB', cold.bytes / 1e6),
      await viewFigure(context, etcd.url),
      plainFigure('agent resident, idle', 'MB', idle.residentMb),
      plainFigure('agent resident, holding the view', 'MB', holding.residentMb),
      plainFigure('agent resident, after the reads', 'MB', read.residentMb),
      plainFigure('agent resident, highest ever', 'MB', read.peakMb),
    ];
  },
};

function first<T>([one]: readonly T[]): T {
  if (one === undefined) throw new Error('there was no answer');
  return one;
}

const viewSchema = v.object({ nodes: v.number(), beforeBytes: v.number(), withViewBytes: v.number() });

async function viewFigure(context: BenchContext, storeUrl: string): Promise<Figure> {
  const flags = (await launchCommand(context, 'agent')).argv.slice(1, -1);
  let output = '';
  const child = startChild(context, [process.execPath, ...flags, '--expose-gc', MEASURE_VIEW, storeUrl], {
    deathWatch: true,
    onStdout: (chunk) => {
      output += chunk;
    },
    onStderr: (chunk) => context.progress(String(chunk).trim()),
  });
  await child.ended;
  const { nodes, beforeBytes, withViewBytes } = v.parse(viewSchema, JSON.parse(output));
  const measured = (withViewBytes - beforeBytes) / nodes;
  return { name: 'view, bytes a node', unit: 'count', measured, limit: VIEW_LIMIT, peer: null };
}
