import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts';

/** A simulated node with its metadata service and its ecs-agent, and the simulator, until the test ends. */
export async function simulateNode(t: TestContext, options: Partial<SimulatorOptions> = {}) {
  const defaults = { nodes: 1, basePort: 0, cluster: 'demo', seed: 's', clock: systemClock };
  const simulator = await startSimulator({ ...defaults, ...options });
  t.after(() => simulator.close());
  const [first] = simulator.nodes;
  assert.ok(first);
  return { ...first, id: first.node.instanceId, simulator };
}
