/** `scripts/simulate-fleet`: whole fleets in simulated time, until so many node-hours are over or a promise is broken. */
import { parseArgs } from 'node:util';
import { runJobs } from './pool.ts';
import { nodeHoursOf, scenarioOf } from './scenario.ts';

function number(name: string, text: string | undefined, fallback: number, min: number, max: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    fail(`--${name} takes a whole number from ${min} to ${max}, and this is "${text}"`);
  }
  return value;
}

function fail(text: string): never {
  process.stderr.write(`simulate-fleet: ${text}; see --help\n`);
  process.exit(2);
}

function readFlags() {
  try {
    return parseArgs({
      options: {
        'node-hours': { type: 'string' },
        seed: { type: 'string' },
        each: { type: 'string' },
        threads: { type: 'string' },
        'keep-going': { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

const flags = readFlags();
const nodeHours = number('node-hours', flags['node-hours'], 1_000, 1, 100_000_000);
const firstSeed = number('seed', flags.seed, Math.floor(Math.random() * 1e9), 0, 2 ** 32);
const each = number('each', flags.each, 100, 1, 10_000);
const threads = number('threads', flags.threads, 0, 1, 64);

const PROGRESS_MS = 10_000;
const SHRINK_MS = 120_000;
const startedMs = performance.now();
let seed = firstSeed;
let [begun, done, runs, broken, requests] = [0, 0, 0, 0, 0];

const progress = () => {
  const seconds = (performance.now() - startedMs) / 1_000;
  const rate = Math.round((done / seconds) * 60);
  process.stderr.write(
    `${Math.round(done)} of ${nodeHours} node-hours in ${Math.round(seconds)} s, ${rate} a minute; ${runs} scenarios, ${requests} requests, ${broken} broken promises\n`,
  );
};
const timer = setInterval(progress, PROGRESS_MS);
await runJobs(
  () => {
    if (begun >= nodeHours) return null;
    begun += nodeHoursOf(scenarioOf(seed, each));
    return { seed: seed++, nodeHours: each, mutation: null, shrinkMs: SHRINK_MS };
  },
  (job, { outcome, scenario }) => {
    done += outcome.nodeHours;
    runs += 1;
    requests += outcome.requests;
    const { violation } = outcome;
    if (violation === null) return true;
    broken += 1;
    process.stdout.write(`seed ${job.seed}: ${violation.invariant}: ${violation.text}\n${JSON.stringify(scenario)}\n`);
    return flags['keep-going'] ?? false;
  },
  ...(threads > 0 ? [threads] : []),
);
clearInterval(timer);
progress();
process.exit(broken > 0 ? 1 : 0);
