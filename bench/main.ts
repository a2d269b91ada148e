import { parseArgs } from 'node:util';
import { systemClock } from '../src/lib/clock.ts';
import { describeError, UsageError } from '../src/lib/errors.ts';
import { type BenchContext, type Benchmark, createCleanup } from './benchmark.ts';
import { events } from './events.ts';
import { fleet } from './fleet.ts';
import { heartbeat } from './heartbeat.ts';
import { http } from './http.ts';
import { list } from './list.ts';
import { memory } from './memory.ts';
import { quiet } from './quiet.ts';
import { type BenchmarkResult, describeMachine, renderReport, reportJson } from './report.ts';
import { start } from './start.ts';

const BENCHMARKS: readonly Benchmark[] = [start, quiet, memory, list, events, http, heartbeat, fleet];
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
  const { json, quick, nodes, restMs, wanted } = parseCommandLine(args);
  const machine = await describeMachine();
  const results: BenchmarkResult[] = [];
  for (const benchmark of wanted) {
    if (!interrupt.signal.aborted) results.push(await measure(benchmark, { quick, nodes, restMs }));
  }
  if (interrupt.signal.aborted) throw interrupt.signal.reason;
  const report = { machine, quick, results };
  (json ? process.stderr : process.stdout).write(renderReport(report));
  if (json) process.stdout.write(reportJson(report));
  return results.some(({ error }) => error !== null) ? 1 : 0;
}

async function measure(
  { name, about, run }: Benchmark,
  size: Pick<BenchContext, 'quick' | 'nodes' | 'restMs'>,
): Promise<BenchmarkResult> {
  const cleanup = createCleanup();
  const progress = (line: string) => process.stderr.write(`${name}: ${line}\n`);
  const context: BenchContext = {
    clock: systemClock,
    random: Math.random,
    signal: interrupt.signal,
    cleanup,
    ...size,
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
      options: { json: flag, quick: flag, nodes: { type: 'string' }, rest: { type: 'string' } },
      allowPositionals: true,
    }),
  );
  const unknown = positionals.find((name) => !BENCHMARKS.some((benchmark) => benchmark.name === name));
  if (unknown !== undefined) {
    const names = BENCHMARKS.map(({ name }) => name).join(', ');
    throw new UsageError(`unknown benchmark "${unknown}"; use one of ${names}`);
  }
  const wanted = BENCHMARKS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const nodes = wholeNumber('--nodes', values.nodes, 20_000, wanted);
  const restSeconds = wholeNumber('--rest', values.rest, 3_600, wanted);
  return { ...values, nodes, restMs: restSeconds === null ? null : restSeconds * 1_000, wanted };
}

/** A flag of the benchmarks with many agents. */
function wholeNumber(flag: string, text: string | undefined, max: number, wanted: readonly Benchmark[]): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (!(Number.isInteger(value) && value >= 1 && value <= max)) {
    throw new UsageError(`${flag} ${text}: give a whole number from 1 to ${max}`);
  }
  if (!wanted.includes(fleet) && !wanted.includes(heartbeat)) {
    throw new UsageError(`${flag} has no effect without the benchmark heartbeat or fleet; leave it out`);
  }
  return value;
}

function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new UsageError(`${describeError(error).replace(/[.]\s.*|[.]$/, '')}; see scripts/bench --help`);
  }
}
