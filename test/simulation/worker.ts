/** One thread that simulates: takes jobs, answers each with its outcome. */
import { parentPort } from 'node:worker_threads';
import { REAL_PARTS } from './agent.ts';
import { installFastAbort } from './fast-abort.ts';
import { MUTATIONS } from './mutations.ts';
import { type Scenario, scenarioOf } from './scenario.ts';
import { shrink } from './shrink.ts';
import { type Outcome, simulate } from './simulate.ts';

export interface Job {
  readonly seed: number;
  readonly nodeHours: number;
  /** The index of a mutation; null: the code as it is. */
  readonly mutation: number | null;
  /** How long a scenario that breaks a promise may be shrunk; 0: not at all. */
  readonly shrinkMs: number;
}

export interface Answer {
  readonly outcome: Outcome;
  /** The shrunk scenario; null: no promise was broken. */
  readonly scenario: Scenario | null;
  /** Of a processor, without the shrinking: a busy machine takes longer for the same. */
  readonly cpuMs: number;
}

installFastAbort();
parentPort?.on('message', async ({ seed, nodeHours, mutation, shrinkMs }: Job) => {
  const mutated = mutation === null ? undefined : MUTATIONS[mutation];
  const parts = mutated?.parts ?? REAL_PARTS;
  const scenario = mutated?.scenario ?? scenarioOf(seed, nodeHours);
  const before = process.threadCpuUsage();
  const outcome = await simulate(scenario, parts);
  const { user, system } = process.threadCpuUsage(before);
  const found = outcome.violation !== null && shrinkMs > 0 ? await shrink(scenario, parts, shrinkMs) : null;
  const answer: Answer = { outcome, scenario: found, cpuMs: (user + system) / 1_000 };
  parentPort?.postMessage(answer);
});
