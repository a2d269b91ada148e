import { execFile } from 'node:child_process';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { promisify } from 'node:util';
import { renderTable } from '../src/cli/table.ts';
import { type Figure, judge, type Unit } from './benchmark.ts';

/** The machine that the figures were measured on. */
export interface Machine {
  readonly cores: number;
  readonly processor: string;
  readonly memoryGb: number;
  /** Of the last minute, before the benchmarks started. */
  readonly load: number;
  readonly node: string;
  readonly etcd: string;
}

export async function describeMachine(): Promise<Machine> {
  const etcd = await promisify(execFile)('etcd', ['--version']);
  return {
    cores: availableParallelism(),
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGb: totalmem() / 1e9,
    load: loadavg()[0] ?? 0,
    node: process.versions.node,
    etcd: /etcd Version: (\S+)/.exec(etcd.stdout)?.[1] ?? 'unknown',
  };
}

export interface Report {
  readonly machine: Machine;
  /** true: the figures only show that the benchmarks run. */
  readonly quick: boolean;
  readonly results: readonly BenchmarkResult[];
}

export interface BenchmarkResult {
  readonly name: string;
  readonly about: string;
  readonly figures: readonly Figure[];
  /** Why the benchmark could not run; null: it did. */
  readonly error: string | null;
}

/** The report for people. */
export function renderReport({ machine, quick, results }: Report): string {
  const { cores, processor, memoryGb, load, node, etcd } = machine;
  const about = results.map((result) => `${result.name}: ${result.about}\n`).join('');
  const rows = results.flatMap(({ name, figures, error }) =>
    error === null ? figures.map((figure) => row(name, figure)) : [[name, 'could not run', null, error, null]],
  );
  return [
    `${cores} cores (${processor}), ${memoryGb.toFixed(1)} GB, load ${load.toFixed(2)}; node ${node}, etcd ${etcd} with fsync\n`,
    quick ? 'A quick run: the figures only show that the benchmarks run\n' : '',
    `${about}\n`,
    renderTable(['BENCHMARK', 'FIGURE', 'MEASURED', 'LIMIT / PEER', 'VERDICT'], rows),
  ].join('');
}

/** The report for programs, as JSON. */
export function reportJson({ machine, quick, results }: Report): string {
  const judged = results.map(({ name, figures, error }) => ({
    name,
    error,
    figures: figures.map((figure) => ({ ...figure, verdict: figure.limit && judge(figure.measured, figure.limit) })),
  }));
  return `${JSON.stringify({ machine, quick, benchmarks: judged }, null, 2)}\n`;
}

function row(benchmark: string, { name, unit, measured, limit, peer }: Figure): (string | null)[] {
  const against = [
    ...(limit ? [`${limit.relation} ${withUnit(limit.value, unit, String(limit.value))}`] : []),
    ...(peer ? [`${peer.name} ${withUnit(peer.measured, unit)}`] : []),
  ].join('; ');
  return [benchmark, name, withUnit(measured, unit), against, limit && judge(measured, limit)];
}

function withUnit(
  value: number,
  unit: Unit,
  shown = value.toFixed({ ms: 0, MB: 1, times: 2, count: 0 }[unit]),
): string {
  return { ms: `${shown} ms`, MB: `${shown} MB`, times: `${shown} ×`, count: shown }[unit];
}
