import { renderTable } from '../src/cli/columns.ts';
import type { Figure, Unit } from './figure.ts';
import { judge } from './judge.ts';
import type { Machine } from './support/describe-machine.ts';

export interface Report {
  readonly machine: Machine;
  /** True: the figures say only that the benchmarks run. */
  readonly quick: boolean;
  readonly results: readonly BenchmarkResult[];
}

export interface BenchmarkResult {
  readonly name: string;
  readonly about: string;
  readonly figures: readonly Figure[];
  /** Why there are no figures; null when there are. */
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
    quick ? 'A quick run: the figures say only that the benchmarks run\n' : '',
    `${about}\n`,
    renderTable(['BENCHMARK', 'FIGURE', 'MEASURED', 'LIMIT / PEER', 'VERDICT'], rows),
  ].join('');
}

/** The report for programs: the same, with the verdicts. */
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
    ...(limit ? [`${limit.relation} ${withUnit(limit.value, unit, 0)}`] : []),
    ...(peer ? [`${peer.name} ${withUnit(peer.measured, unit)}`] : []),
  ].join('; ');
  return [benchmark, name, withUnit(measured, unit), against, limit && judge(measured, limit)];
}

function withUnit(value: number, unit: Unit, digits?: number): string {
  const shown = value.toFixed(digits ?? { ms: 0, MB: 1, times: 2, count: 0 }[unit]);
  return { ms: `${shown} ms`, MB: `${shown} MB`, times: `${shown} ×`, count: shown }[unit];
}
