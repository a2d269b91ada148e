import { fileURLToPath } from 'node:url';
import { until } from '../test/support/machine-time.ts';
import { type BenchContext, type Benchmark, type Figure, plainFigure } from './benchmark.ts';
import { type Child, memoryOf, startChild } from './support/child.ts';
import { startBenchEtcd } from './support/fleet.ts';
import { addReports, type FleetReport } from './support/fleet-report.ts';
import { cpuMs, openFiles } from './support/process-load.ts';

const PROGRAM = fileURLToPath(new URL('./support/fleet-worker.ts', import.meta.url));
const WORKERS = 4;
const TTL_MS = 30_000;
const DEFAULT_NODES = 500;
/** Registrations and what etcd does after them are over by then. */
const SETTLED_MS = 15_000;
/** For etcd without agents. */
const EMPTY_MS = 10_000;
const STOPPED_MS = 45_000;
const KILLED_MS = 5_000;
const BACK_LIMIT_MS = 240_000;

/** What a fleet costs one etcd at rest, and how soon it is back after etcd was away. */
export const fleet: Benchmark = {
  name: 'fleet',
  about: `the publishers of many agents in ${WORKERS} processes, a store connection each, TTL ${TTL_MS / 1_000} s, on one etcd that shares the machine; then etcd is stopped for ${STOPPED_MS / 1_000} s, and killed for ${KILLED_MS / 1_000} s`,
  async run(context) {
    const { clock, signal, quick } = context;
    const nodes = context.nodes ?? (quick ? 40 : DEFAULT_NODES);
    const restMs = quick ? 10_000 : 60_000;
    const { server, url, open } = await startBenchEtcd(context);
    const emptyBefore = await cpuMs(server.pid);
    await clock.sleep(EMPTY_MS, signal);
    const emptyCpuMs = (await cpuMs(server.pid)) - emptyBefore;
    const startedMs = clock.monotonicMs();
    const workers = startWorkers(context, url, nodes);
    const total = () => addReports(workers.map(({ report }) => report()));
    await until('all are registered', BACK_LIMIT_MS, () => total().held === nodes, { everyMs: 50, signal });
    const registeredMs = clock.monotonicMs() - startedMs;
    context.progress(`${nodes} registered in ${Math.round(registeredMs)} ms`);
    await clock.sleep(SETTLED_MS, signal);

    const proposals = () => server.metric('etcd_server_proposals_committed_total');
    const before = { cpu: await cpuMs(server.pid), proposals: await proposals(), fleet: total() };
    await clock.sleep(restMs, signal);
    const after = { cpu: await cpuMs(server.pid), proposals: await proposals(), fleet: total() };
    const beats = after.fleet.beats - before.fleet.beats;
    const memory = await Promise.all(workers.map(({ child }) => memoryOf(child.pid)));
    const atRest: Figure[] = [
      plainFigure(`${nodes} agents, until all are registered`, 'ms', registeredMs),
      plainFigure('losses until the end of the rest', 'count', after.fleet.losses),
      plainFigure('failed heartbeats until the end of the rest', 'count', after.fleet.failedBeats),
      plainFigure('heartbeats at rest', 'count', beats),
      plainFigure('raft proposals at rest', 'count', after.proposals - before.proposals),
      plainFigure('etcd’s processor time in a minute of rest', 'ms', ((after.cpu - before.cpu) * 60_000) / restMs),
      plainFigure('the same before there were agents', 'ms', (emptyCpuMs * 60_000) / EMPTY_MS),
      plainFigure('etcd’s open files', 'count', await openFiles(server.pid)),
      plainFigure('etcd, resident', 'MB', (await memoryOf(server.pid)).residentMb),
      plainFigure(
        'a client process, resident for each of its agents',
        'MB',
        memory.reduce((sum, one) => sum + one.residentMb, 0) / nodes,
      ),
    ];

    const reader = await open();
    const untilBack = async (sinceMs: number): Promise<number> => {
      const isBack = async () => {
        if (total().confirmedAtMs <= sinceMs) return false;
        const { entries } = await reader.read(signal);
        return entries.filter(({ presence }) => presence !== null).length === nodes;
      };
      await until('all are back', BACK_LIMIT_MS, isBack, { everyMs: 500, signal });
      return clock.monotonicMs() - sinceMs;
    };
    const losses = total().losses;
    context.progress(`stopping etcd for ${STOPPED_MS / 1_000} s`);
    process.kill(server.pid, 'SIGSTOP');
    await clock.sleep(STOPPED_MS, signal);
    process.kill(server.pid, 'SIGCONT');
    const afterStopMs = await untilBack(clock.monotonicMs());
    const stopLosses = total().losses - losses;
    context.progress(`all back after ${Math.round(afterStopMs)} ms; killing etcd`);
    await clock.sleep(SETTLED_MS, signal);
    await server.stop();
    await clock.sleep(KILLED_MS, signal);
    const restartedMs = clock.monotonicMs();
    await server.restart();
    const afterKillMs = await untilBack(restartedMs);
    return [
      ...atRest,
      plainFigure('etcd stopped for 45 s, until all are back after it', 'ms', afterStopMs),
      plainFigure('registrations lost by that', 'count', stopLosses),
      plainFigure('etcd killed for 5 s, until all are back after its start', 'ms', afterKillMs),
      plainFigure('registrations lost by that', 'count', total().losses - losses - stopLosses),
    ];
  },
};

interface Worker {
  readonly child: Child;
  report(): FleetReport;
}

function startWorkers(context: BenchContext, url: string, nodes: number): Worker[] {
  return Array.from({ length: WORKERS }, (_, index) => {
    const first = Math.floor((nodes * index) / WORKERS);
    const count = Math.floor((nodes * (index + 1)) / WORKERS) - first;
    let newest: FleetReport = { held: 0, confirmedAtMs: 0, registrations: 0, beats: 0, failedBeats: 0, losses: 0 };
    let rest = '';
    const child = startChild(context, [process.execPath, PROGRAM, url, String(first), String(count), String(TTL_MS)], {
      deathWatch: true,
      onStdout: (chunk) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        const line = lines.at(-1);
        if (line !== undefined) newest = JSON.parse(line);
      },
      onStderr: (chunk) => process.stderr.write(chunk),
    });
    return { child, report: () => newest };
  });
}
