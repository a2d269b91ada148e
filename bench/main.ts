import { parseArgs } from 'node:util';
import { systemClock } from '../src/lib/clock.ts';
import { describeError, UsageError } from '../src/lib/errors.ts';
import { type BenchContext, type Benchmark, createCleanup } from './benchmark.ts';
import { events } from './events.ts';
import { fleet } from './fleet.ts';
import { http } from './http.ts';
import { list } from './list.ts';
import { memory } from './memory.ts';
import { quiet } from './quiet.ts';
import { type BenchmarkResult, describeMachine, renderReport, reportJson } from './report.ts';
import { start } from './start.ts';

const BENCHMARKS: readonly Benchmark[] = [start, quiet, memory, list, events, http, fleet];
const interrupt = new AbortController();
const onSignal = (name: NodeJS.Signals) => {
  // A second signal ends the run at once; exit handlers still kill the started processes.
  if (interrupt.signal.aborted) process.exit(130);
  interrupt.abort(new Error(`ended by ${name}`));
};
process.on('SIGINT', onSignal);
process.on('SIGTERM', onSignal);

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`scripts/bench: ${describeError(error)}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
if (interrupt.signal.aborted) process.exitCode = 130;

async function main(args: readonly string[]): Promise<number> {
  const { json, quick, nodes, wanted } = parseCommandLine(args);
  const machine = await describeMachine();
  const results: BenchmarkResult[] = [];
  for (const benchmark of wanted) {
    if (!interrupt.signal.aborted) results.push(await measure(benchmark, quick, nodes));
  }
  if (interrupt.signal.aborted) throw interrupt.signal.reason;
  const report = { machine, quick, results };
  (json ? process.stderr : process.stdout).write(renderReport(report));
  if (json) process.stdout.write(reportJson(report));
  return results.some(({ error }) => error !== null) ? 1 : 0;
}

async function measure(
  { name, about, run }: Benchmark,
  quick: boolean,
  nodes: number | null,
): Promise<BenchmarkResult> {
  const cleanup = createCleanup();
  const progress = (line: string) => process.stderr.write(`${name}: ${line}\n`);
  const context: BenchContext = {
    clock: systemClock,
    random: Math.random,
    signal: interrupt.signal,
    cleanup,
    quick,
    nodes,
    progress,
  };
  try {
    return { name, about, figures: await run(context), error: null };
  } catch (error) {
    return { name, about, figures: [], error: describeError(error) };
  } finally {
    await cleanup.run().catch((error: unknown) => progress(`cleaning up failed: ${describeError(error)}`));
  }
}

function parseCommandLine(args: readonly string[]) {
  const flag = { type: 'boolean', default: false } as const;
  const { values, positionals } = parsed(() =>
    parseArgs({
      args: [...args],
      options: { json: flag, quick: flag, nodes: { type: 'string' } },
      allowPositionals: true,
    }),
  );
  const unknown = positionals.find((name) => !BENCHMARKS.some((benchmark) => benchmark.name === name));
  if (unknown !== undefined) {
    const names = BENCHMARKS.map(({ name }) => name).join(', ');
    throw new UsageError(`unknown benchmark "${unknown}"; use one of ${names}`);
  }
  const wanted = BENCHMARKS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const nodes = values.nodes === undefined ? null : Number(values.nodes);
  if (nodes !== null && !(Number.isInteger(nodes) && nodes >= 1 && nodes <= 20_000)) {
    throw new UsageError(`--nodes ${values.nodes}: give a whole number from 1 to 20000`);
  }
  if (nodes !== null && !wanted.includes(fleet)) {
    throw new UsageError('--nodes has no effect without the benchmark fleet; leave it out');
  }
  return { ...values, nodes, wanted };
}

function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new UsageError(`${describeError(error).replace(/[.]\s.*|[.]$/, '')}; see scripts/bench --help`);
  }
}
