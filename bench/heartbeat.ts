import { fileURLToPath } from 'node:url';
import { until } from '../test/support/machine-time.ts';
import { type BenchContext, type Benchmark, type Figure, plainFigure, quantile } from './benchmark.ts';
import { type BenchEtcd, startBenchEtcd } from './support/fleet.ts';
import type { HeartbeatReport } from './support/heartbeat-report.ts';
import { cpuMs } from './support/process-load.ts';
import { startWorkers } from './support/workers.ts';

const PROGRAM = fileURLToPath(new URL('./support/heartbeat-worker.ts', import.meta.url));
const DEFAULT_AGENTS = 500;
const TURNS = 2;
/** A third of the default TTL. */
const AT_REST_EVERY_MS = 10_000;
/** On all connections together. The gateway carries about 2,900 on two cores. */
const FAST_PER_SECOND = [1_000, 2_000];
const FAST_MS = 20_000;
/** What etcd does after connections have come or gone is over by then. It is measured without connections for twice that. */
const SETTLED_MS = 10_000;
const QUICK_SETTLED_MS = 2_000;
/** More than etcd gathers writes for before it puts them into its database, 100 ms. */
const WRITES_APART_MS = 500;
const WANTED = { relation: 'at most', value: 0.4 } as const;

type Way = 'rollcall' | 'gateway';

interface Heartbeats {
  readonly perSecond: number;
  readonly failed: number;
  /** etcd's processor time for one, without what it takes when there are no connections. */
  readonly costMs: number;
}

/** What a heartbeat costs etcd, against one by its JSON gateway. */
export const heartbeat: Benchmark = {
  name: 'heartbeat',
  about: `etcd’s processor time for heartbeats of many agents, a connection with a watch each, and of as many connections to its JSON gateway, in turns; at rest (each connection every ${AT_REST_EVERY_MS / 1_000} s) and ${FAST_PER_SECOND.join(' and ')} a second on all together`,
  async run(context) {
    const { quick } = context;
    const agents = context.nodes ?? (quick ? 40 : DEFAULT_AGENTS);
    const etcd = await startBenchEtcd(context);
    const atRestMs = quick ? 10_000 : (context.restMs ?? 60_000);
    const figures = [...(await compare(context, etcd, agents, 'at rest', AT_REST_EVERY_MS, atRestMs))];
    for (const perSecond of FAST_PER_SECOND) {
      const everyMs = (1_000 * agents) / perSecond;
      const name = `${perSecond} a second`;
      figures.push(...(await compare(context, etcd, agents, name, everyMs, quick ? 2_000 : FAST_MS)));
    }
    return figures;
  },
};

async function compare(
  context: BenchContext,
  etcd: BenchEtcd,
  agents: number,
  when: string,
  everyMs: number,
  forMs: number,
): Promise<Figure[]> {
  const seen: Record<Way, Heartbeats[]> = { rollcall: [], gateway: [] };
  for (let turn = 1; turn <= (context.quick ? 1 : TURNS); turn += 1) {
    for (const way of ['rollcall', 'gateway'] as const) {
      const heartbeats = await measure(context, etcd, way, agents, everyMs, forMs);
      const { perSecond, costMs } = heartbeats;
      context.progress(
        `${when}, ${way}, turn ${turn}: ${perSecond.toFixed(0)} came a second, ${costMs.toFixed(3)} ms each`,
      );
      seen[way].push(heartbeats);
    }
  }
  const figure = (name: string, unit: 'count' | 'ms', of: (heartbeats: Heartbeats) => number): Figure => {
    const [measured, peer] = [seen.rollcall, seen.gateway].map((all) => quantile(all.map(of), 0.5));
    return {
      ...plainFigure(name, unit, measured ?? Number.NaN),
      peer: { name: 'gateway', measured: peer ?? Number.NaN },
    };
  };
  const ratios = seen.rollcall.map(({ costMs }, turn) => costMs / (seen.gateway[turn]?.costMs ?? Number.NaN));
  return [
    figure(`${when}: heartbeats a second`, 'count', ({ perSecond }) => perSecond),
    figure('failed meanwhile', 'count', ({ failed }) => failed),
    figure('etcd’s processor time for 1,000 of them', 'ms', ({ costMs }) => 1_000 * costMs),
    { ...plainFigure('the same against the gateway', 'times', quantile(ratios, 0.5)), limit: WANTED },
  ];
}

async function measure(
  context: BenchContext,
  { server }: BenchEtcd,
  way: Way,
  agents: number,
  everyMs: number,
  forMs: number,
): Promise<Heartbeats> {
  const { clock, signal } = context;
  const settledMs = context.quick ? QUICK_SETTLED_MS : SETTLED_MS;
  const during = async (wallMs: number) => {
    const [beforeMs, sinceMs] = [await cpuMs(server.pid), clock.monotonicMs()];
    await clock.sleep(wallMs, signal);
    return { spentMs: (await cpuMs(server.pid)) - beforeMs, wallMs: clock.monotonicMs() - sinceMs };
  };
  await clock.sleep(settledMs, signal);
  const empty = await during(2 * settledMs);

  const none: HeartbeatReport = { connected: 0, beats: 0, failedBeats: 0 };
  const workers = startWorkers(context, agents, PROGRAM, [way, server.clientUrl, String(everyMs)], none);
  const broken = Promise.race(
    workers.map(async ({ child }) => {
      throw new Error(`the heartbeats by ${way} ended with ${(await child.ended).code}`);
    }),
  );
  const sum = (of: (report: HeartbeatReport) => number) =>
    workers.reduce((total, { report }) => total + of(report()), 0);
  const work = async () => {
    const areConnected = () => sum(({ connected }) => connected) === agents;
    await until(`all are connected by ${way}`, 240_000, areConnected, { everyMs: 50, signal });
    // For each answer etcd 3.4 copies what it keeps of its newest writes. After these that is the same, whatever came before.
    for (const text of ['a', 'b']) {
      await server.etcdctl('put', 'newest', text);
      await clock.sleep(WRITES_APART_MS, signal);
    }
    // By then each has sent one, and with it begun the stream that stays open.
    await clock.sleep(everyMs + settledMs, signal);
    const [beatsBefore, failedBefore] = [sum(({ beats }) => beats), sum(({ failedBeats }) => failedBeats)];
    const { spentMs, wallMs } = await during(forMs);
    const beats = sum((report) => report.beats) - beatsBefore;
    return {
      perSecond: (1_000 * beats) / wallMs,
      failed: sum(({ failedBeats }) => failedBeats) - failedBefore,
      costMs: (spentMs - (empty.spentMs * wallMs) / empty.wallMs) / beats,
    };
  };
  const result = await Promise.race([work(), broken]);
  for (const { child } of workers) await child.stop('SIGKILL');
  return result;
}
