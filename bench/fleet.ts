import { fileURLToPath } from 'node:url';
import { until } from '../test/support/machine-time.ts';
import { type BenchContext, type Benchmark, type Figure, plainFigure } from './benchmark.ts';
import { memoryOf } from './support/child.ts';
import { fanOutMs } from './support/fan-out.ts';
import { type BenchEtcd, startBenchEtcd } from './support/fleet.ts';
import { addReports, type FleetReport } from './support/fleet-report.ts';
import { cpuMs, openFiles } from './support/process-load.ts';
import { startWorkers, type Worker } from './support/workers.ts';

const PROGRAM = fileURLToPath(new URL('./support/fleet-worker.ts', import.meta.url));
const NO_REPORT: FleetReport = { held: 0, confirmedAtMs: 0, registrations: 0, beats: 0, failedBeats: 0, losses: 0 };
const TTL_MS = 30_000;
const DEFAULT_NODES = 500;
/** Registrations and what etcd does after them are over by then. */
const SETTLED_MS = 15_000;
/** For etcd without agents. */
const EMPTY_MS = 10_000;
const STOPPED_MS = 45_000;
const KILLED_MS = 5_000;
const BACK_LIMIT_MS = 240_000;
const TELL_EVERY_MS = 15_000;
/** How often `etcdctl` asks for a key meanwhile. */
const ETCDCTL_EVERY_MS = 5_000;

/** What a fleet costs one etcd at rest, and how soon it is back after etcd was away. */
export const fleet: Benchmark = {
  name: 'fleet',
  about: `the publishers of many agents in a few processes, a store connection each, TTL ${TTL_MS / 1_000} s, on one etcd that shares the machine; then etcd is stopped for ${STOPPED_MS / 1_000} s, and killed for ${KILLED_MS / 1_000} s`,
  async run(context) {
    const { clock, signal, quick } = context;
    const nodes = context.nodes ?? (quick ? 40 : DEFAULT_NODES);
    const restMs = quick ? 10_000 : (context.restMs ?? 60_000);
    const etcd = await startBenchEtcd(context);
    const { server } = etcd;
    const empty = await measured(context, etcd, [], () => clock.sleep(EMPTY_MS, signal));
    const emptyMb = (await memoryOf(server.pid)).residentMb;
    // Before there are agents: what they do meanwhile would count as well.
    const toldMs = await fanOutMs(context, etcd);
    const emptyFiles = await openFiles(server.pid);
    const workers = startWorkers(context, nodes, PROGRAM, [etcd.url, String(TTL_MS)], NO_REPORT);
    const total = () => addReports(workers.map(({ report }) => report()));
    const asking = startEtcdctl(context, etcd);
    startTelling(context, total);

    const start = await measured(context, etcd, workers, () =>
      until('all are registered', BACK_LIMIT_MS, () => total().held === nodes, { everyMs: 50, signal }),
    );
    context.progress(`${nodes} registered in ${Math.round(start.wallMs)} ms; ${nodes} agents at rest`);
    await clock.sleep(SETTLED_MS, signal);
    const before = total();
    const rest = await measured(context, etcd, workers, () => clock.sleep(restMs, signal));
    const after = total();
    const beats = after.beats - before.beats;
    const memory = await Promise.all(workers.map(({ child }) => memoryOf(child.pid)));
    const clientsMb = memory.reduce((sum, one) => sum + one.residentMb, 0);
    const idleCpuMs = (empty.etcdCpuMs * rest.wallMs) / empty.wallMs;
    const figures: Figure[] = [
      ...loadFigures(`${nodes} agents, until all are registered`, start, nodes),
      plainFigure('losses until the end of the rest', 'count', after.losses),
      plainFigure('failed heartbeats until the end of the rest', 'count', after.failedBeats),
      plainFigure('heartbeats at rest', 'count', beats),
      plainFigure('Raft proposals at rest', 'count', rest.proposals),
      plainFigure('etcd’s processor time in a minute of rest', 'ms', perMinute(rest)),
      plainFigure('the same before there were agents', 'ms', perMinute(empty)),
      plainFigure('etcd’s processor time for 1,000 heartbeats', 'ms', ((rest.etcdCpuMs - idleCpuMs) * 1_000) / beats),
      plainFigure('the clients’ processor time for 1,000 heartbeats', 'ms', (rest.clientsCpuMs * 1_000) / beats),
      plainFigure('etcd’s open files for the agents', 'count', (await openFiles(server.pid)) - emptyFiles),
      plainFigure('etcd, resident', 'MB', (await memoryOf(server.pid)).residentMb),
      plainFigure('the same before there were agents', 'MB', emptyMb),
      plainFigure('a client process, resident for each of its agents', 'MB', clientsMb / nodes),
      ...asking.figures(),
      plainFigure('etcd’s processor time for 1,000 changes told to one watch', 'ms', 1_000 * toldMs),
    ];

    const reader = await etcd.open();
    const untilBack = (sinceMs: number) => {
      const isBack = async () => {
        if (total().confirmedAtMs <= sinceMs) return false;
        const { entries } = await reader.read(signal);
        return entries.filter(({ presence }) => presence !== null).length === nodes;
      };
      return measured(context, etcd, workers, () =>
        until('all are back', BACK_LIMIT_MS, isBack, { everyMs: 500, signal }),
      );
    };
    let known = total().losses;
    const losses = () => {
      const more = total().losses - known;
      known += more;
      return plainFigure('registrations lost by that', 'count', more);
    };

    context.progress(`stopping etcd for ${STOPPED_MS / 1_000} s`);
    asking.pause();
    process.kill(server.pid, 'SIGSTOP');
    await clock.sleep(STOPPED_MS, signal);
    process.kill(server.pid, 'SIGCONT');
    asking.resume();
    const stopped = await untilBack(clock.monotonicMs());
    figures.push(
      ...loadFigures(`etcd stopped for ${STOPPED_MS / 1_000} s, until all are back`, stopped, nodes),
      losses(),
    );
    figures.push(...asking.figures());

    context.progress(`all back after ${Math.round(stopped.wallMs)} ms; killing etcd`);
    await clock.sleep(SETTLED_MS, signal);
    asking.pause();
    await server.stop();
    await clock.sleep(KILLED_MS, signal);
    await server.restart();
    const killed = await untilBack(clock.monotonicMs());
    figures.push(...loadFigures(`etcd killed for ${KILLED_MS / 1_000} s, until all are back`, killed, nodes), losses());
    return figures;
  },
};

/** What happened during one phase. */
interface Load {
  readonly wallMs: number;
  readonly etcdCpuMs: number;
  /** Of all client processes. */
  readonly clientsCpuMs: number;
  readonly proposals: number;
}

async function measured(
  { clock }: BenchContext,
  { server }: BenchEtcd,
  workers: readonly Worker<FleetReport>[],
  work: () => Promise<unknown>,
): Promise<Load> {
  const read = async () => ({
    etcdCpuMs: await cpuMs(server.pid),
    clientsCpuMs: (await Promise.all(workers.map(({ child }) => cpuMs(child.pid)))).reduce((a, b) => a + b, 0),
    proposals: await server.metric('etcd_server_proposals_committed_total'),
  });
  const before = await read();
  const startMs = clock.monotonicMs();
  await work();
  const wallMs = clock.monotonicMs() - startMs;
  const after = await read();
  return {
    wallMs,
    etcdCpuMs: after.etcdCpuMs - before.etcdCpuMs,
    clientsCpuMs: after.clientsCpuMs - before.clientsCpuMs,
    proposals: after.proposals - before.proposals,
  };
}

function perMinute({ etcdCpuMs, wallMs }: Load): number {
  return (etcdCpuMs * 60_000) / wallMs;
}

function loadFigures(what: string, { wallMs, etcdCpuMs, clientsCpuMs, proposals }: Load, nodes: number): Figure[] {
  return [
    plainFigure(what, 'ms', wallMs),
    plainFigure('etcd’s processor time for each agent in that', 'ms', etcdCpuMs / nodes),
    plainFigure('the clients’ processor time for each agent in that', 'ms', clientsCpuMs / nodes),
    plainFigure('Raft proposals for each agent in that', 'count', proposals / nodes),
  ];
}

/** Says from time to time how the fleet is, so that a run that does not end shows why. */
function startTelling({ clock, signal, cleanup, progress }: BenchContext, total: () => FleetReport) {
  const ended = new AbortController();
  const run = async () => {
    for (;;) {
      await clock.sleep(TELL_EVERY_MS, AbortSignal.any([signal, ended.signal]));
      const { held, beats, failedBeats, losses } = total();
      progress(`${held} are registered; heartbeats ${beats}, failed ${failedBeats}; losses ${losses}`);
    }
  };
  run().catch(() => {}); // ended
  cleanup.after(async () => ended.abort());
}

/** Asks etcd for a key with `etcdctl`, as an operator would, until the benchmark ends. */
function startEtcdctl({ clock, signal, cleanup }: BenchContext, { server }: BenchEtcd) {
  const ended = new AbortController();
  let isPaused = false;
  let slowestMs = 0;
  let failures = 0;
  const run = async () => {
    for (;;) {
      await clock.sleep(ETCDCTL_EVERY_MS, AbortSignal.any([signal, ended.signal]));
      if (isPaused) continue;
      const startMs = clock.monotonicMs();
      const failed = await server.etcdctl('get', '--keys-only', '/rollcall/v1/none').then(
        () => false,
        () => true,
      );
      if (isPaused) continue;
      if (failed) failures += 1;
      else slowestMs = Math.max(slowestMs, clock.monotonicMs() - startMs);
    }
  };
  run().catch(() => {}); // ended
  cleanup.after(async () => ended.abort());
  return {
    pause() {
      isPaused = true;
    },
    resume() {
      [isPaused, slowestMs, failures] = [false, 0, 0];
    },
    figures: () => [
      plainFigure('the slowest etcdctl meanwhile that was answered within 5 s', 'ms', slowestMs),
      plainFigure('those that were not', 'count', failures),
    ],
  };
}
