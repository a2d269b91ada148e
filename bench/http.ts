import { Agent, get } from 'node:http';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import { type BenchContext, type Benchmark, type Figure, plainFigure, quantile } from './benchmark.ts';
import { etcdctlGet, timeRun } from './list.ts';
import { launchCommand, memoryOf, startChild } from './support/child.ts';
import { registerNodes, startBenchEtcd, startIdleAgent } from './support/fleet.ts';

const MEASURE_VIEW = fileURLToPath(new URL('./support/measure-view.ts', import.meta.url));
/** By then the agent has the roll and is idle. */
const IDLE_AFTER_MS = 3_000;
const COLD_LIMIT = { relation: 'under', value: 1_000 } as const;
const WARM_LIMIT = { relation: 'under', value: 100 } as const;
const ETCDCTL_LIMIT = { relation: 'at most', value: 0.5 } as const;
const GZIP = { 'accept-encoding': 'gzip' };
const VIEW_LIMIT = { relation: 'at most', value: 3_000 } as const;

/** What serving a large roll over HTTP costs an agent. */
export const http: Benchmark = {
  name: 'http',
  about:
    'GET /v1/containerInstances of one agent until the last byte: the first ever (cold), then again and again on one connection, while /healthz is asked on another; then in turns with etcdctl get --prefix of the same nodes; the view is measured in a process that holds only it, all garbage collected',
  async run(context) {
    const { nodes, reads, pairs } = context.quick
      ? { nodes: 500, reads: 3, pairs: 2 }
      : { nodes: 10_000, reads: 50, pairs: 15 };
    const etcd = await startBenchEtcd(context);
    const store = await etcd.open();
    context.progress(`registering ${nodes} nodes`);
    await registerNodes(context, store, nodes);
    await store.close();
    const agent = await startIdleAgent(context, etcd.url);
    const url = `${agent.url}/v1/containerInstances`;
    const connection = new Agent({ keepAlive: true, maxSockets: 1 });

    const idle = await memoryOf(agent.pid);
    const cold = await timedGet(context, url, connection);
    await context.clock.sleep(IDLE_AFTER_MS, context.signal);
    const holding = await memoryOf(agent.pid);
    const probes = probe(context, `${agent.url}/healthz`);
    const warm: number[] = [];
    for (let read = 0; read < reads; read += 1) warm.push((await timedGet(context, url, connection)).wholeMs);
    const zipped: TimedGet[] = [];
    for (let read = 0; read < reads; read += 1) zipped.push(await timedGet(context, url, connection, GZIP));
    const probed = await probes.stop();
    const read = await memoryOf(agent.pid);
    const ratios: number[] = [];
    for (let pair = 0; pair < pairs; pair += 1) {
      const { wholeMs } = await timedGet(context, url, connection);
      ratios.push(wholeMs / (await timeRun(context, etcdctlGet(etcd.server.clientUrl), {}, nodes)));
    }
    connection.destroy();
    return [
      { name: `cold, ${nodes} nodes`, unit: 'ms', measured: cold.wholeMs, limit: COLD_LIMIT, peer: null },
      plainFigure('cold, first byte', 'ms', cold.firstMs),
      plainFigure('warm, median', 'ms', quantile(warm, 0.5)),
      { name: 'warm, p99', unit: 'ms', measured: quantile(warm, 0.99), limit: WARM_LIMIT, peer: null },
      {
        name: 'warm, gzip, p99',
        unit: 'ms',
        measured: quantile(
          zipped.map(({ wholeMs }) => wholeMs),
          0.99,
        ),
        limit: WARM_LIMIT,
        peer: null,
      },
      plainFigure('body, gzip', 'MB', (zipped[0]?.bytes ?? Number.NaN) / 1e6),
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

interface TimedGet {
  /** Until the first byte of the body, and until its last. */
  readonly firstMs: number;
  readonly wholeMs: number;
  readonly bytes: number;
}

/** A GET that counts its body and does not keep it, so that the client is not the slow part. */
function timedGet(
  { clock, signal }: BenchContext,
  url: string,
  agent: Agent,
  headers: Readonly<Record<string, string>> = {},
): Promise<TimedGet> {
  const sentMs = clock.monotonicMs();
  return new Promise((resolve, reject) => {
    const request = get(url, { agent, signal, headers }, (answer) => {
      let bytes = 0;
      let firstMs = Number.NaN;
      answer.on('data', (chunk: Buffer) => {
        if (bytes === 0) firstMs = clock.monotonicMs() - sentMs;
        bytes += chunk.length;
      });
      answer.on('error', reject);
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve({ firstMs, wholeMs: clock.monotonicMs() - sentMs, bytes });
        else reject(new Error(`GET ${url}: ${answer.statusCode}`));
      });
    });
    request.on('error', reject);
  });
}

/** Asks again and again until stopped. */
function probe(context: BenchContext, url: string): { stop(): Promise<readonly number[]> } {
  const connection = new Agent({ keepAlive: true, maxSockets: 1 });
  const took: number[] = [];
  let stopped = false;
  const run = async () => {
    while (!stopped) {
      took.push((await timedGet(context, url, connection)).wholeMs);
      await context.clock.sleep(5, context.signal);
    }
  };
  const running = run();
  running.catch(() => {}); // `stop` rejects with it
  return {
    async stop() {
      stopped = true;
      await running;
      connection.destroy();
      return took;
    },
  };
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
