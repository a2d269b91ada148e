import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MUTATIONS } from '../simulation/mutations.ts';
import { runJobs } from '../simulation/pool.ts';
import { nodeHoursOf, scenarioOf } from '../simulation/scenario.ts';

/** The same ones each time; scripts/simulate-fleet has all the others. */
const SEED = Number(process.env['ROLLCALL_TEST_SEED'] ?? 200);
const NODE_HOURS = 20_000;
const EACH = 150;
/** A busy machine simulates less in this time, and says how much it was. */
const LIMIT_MS = 175_000;
const SHRINK_MS = 60_000;

test('whole fleets keep every promise in simulated time, whatever fails', { timeout: 600_000 }, async (t) => {
  process.stdout.write(`to run this again: ROLLCALL_TEST_SEED=${SEED}\n`);
  const untilMs = performance.now() + LIMIT_MS;
  let [begun, seed, hours, scenarios] = [0, SEED, 0, 0];
  const broken: string[] = [];
  await runJobs(
    () => {
      if (begun >= NODE_HOURS || performance.now() > untilMs) return null;
      begun += nodeHoursOf(scenarioOf(seed, EACH));
      return { seed: seed++, nodeHours: EACH, mutation: null, shrinkMs: SHRINK_MS };
    },
    (job, { outcome: { violation, nodeHours }, scenario }) => {
      hours += nodeHours;
      scenarios += 1;
      if (violation === null) return true;
      const { invariant, text } = violation;
      broken.push(
        `seed ${job.seed}: ${invariant}: ${text}: scripts/simulate-fleet --each ${EACH} --node-hours 1 --seed ${job.seed}\n${JSON.stringify(scenario)}`,
      );
      return false;
    },
  );
  t.diagnostic(`${Math.round(hours)} node-hours in ${scenarios} scenarios`);
  assert.deepEqual(broken, []);
  assert.ok(scenarios > 0);
});

/** A mutation that is not found by then is not found. */
const SEEDS_EACH = 24;
const SMALL = 20;
/** Of one processor, for each. */
const MAX_CPU_MS = 60_000;

test('each of these ways to break the code is found within a minute', { timeout: 600_000 }, async (t) => {
  const found = new Map<number, string>();
  const cpuMs = MUTATIONS.map(() => 0);
  const jobs = Array.from({ length: SEEDS_EACH }, (_, seed) =>
    MUTATIONS.map((_each, mutation) => ({ seed, mutation })),
  ).flat();
  await runJobs(
    () => {
      // One that was found needs no more seeds.
      const index = jobs.findIndex(({ mutation }) => !found.has(mutation));
      const [job] = index < 0 ? [] : jobs.splice(index, 1);
      return job ? { ...job, nodeHours: SMALL, shrinkMs: 0 } : null;
    },
    ({ mutation, seed }, { outcome: { violation }, cpuMs: tookMs }) => {
      if (mutation === null) return true;
      if (!found.has(mutation)) cpuMs[mutation] = (cpuMs[mutation] ?? 0) + tookMs;
      if (violation === null) return true;
      if (MUTATIONS[mutation]?.breaks.includes(violation.invariant))
        found.set(mutation, `${violation.invariant}, seed ${seed}`);
      else t.diagnostic(`${MUTATIONS[mutation]?.what}: ${violation.invariant}: ${violation.text}`);
      return true;
    },
  );
  const told = MUTATIONS.map(({ what }, index) => `${what}: ${found.get(index)}, ${Math.round(cpuMs[index] ?? 0)} ms`);
  for (const line of told) t.diagnostic(line);
  assert.ok(MUTATIONS.length >= 10);
  const isLate = (index: number) => !found.has(index) || (cpuMs[index] ?? 0) > MAX_CPU_MS;
  assert.deepEqual(
    told.filter((_, index) => isLate(index)),
    [],
  );
});
