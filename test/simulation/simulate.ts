import { type Parts, REAL_PARTS } from './agent.ts';
import { watchCoordination } from './coordination.ts';
import { scheduleFaults } from './faults.ts';
import { watchInvariants } from './invariants.ts';
import type { Scenario } from './scenario.ts';
import { createWorld, type Violation } from './world.ts';

export interface Outcome {
  /** The first promise that was broken; null: none was. */
  readonly violation: Violation | null;
  readonly nodeHours: number;
  readonly steps: number;
  readonly requests: number;
  readonly revisions: number;
}

const OVER = new Error('a promise was broken');

/** Runs the scenario to its end, or to the first promise that is broken. */
export async function simulate(scenario: Scenario, parts: Parts = REAL_PARTS): Promise<Outcome> {
  const world = createWorld(scenario, parts);
  const { scheduler, cluster } = world;
  const { onFault } = watchInvariants(world);
  scheduleFaults(world, onFault);
  for (const node of world.nodes) {
    scheduler.after(2_000 * world.random(), () => {
      if (node.isOn && node.agents.length === 0) world.startNode(node);
    });
  }
  for (const watcher of world.watchers) world.startWatcher(watcher);
  let revisions = 0;
  const { onCommit } = world;
  const onCoordination = watchCoordination(world);
  world.onCommit = (revision, by) => {
    revisions += 1;
    onCommit(revision, by);
    onCoordination(revision);
  };
  try {
    await scheduler.run(scenario.minutes * 60_000, () => {
      if (world.violation() !== null) throw OVER;
    });
  } catch (error) {
    if (error !== OVER) world.fail('nothing breaks', String(error));
  }
  return {
    violation: world.violation(),
    nodeHours: (scenario.nodes * scheduler.nowMs()) / 3_600_000,
    steps: scheduler.steps(),
    requests: cluster.counts().requests,
    revisions,
  };
}
