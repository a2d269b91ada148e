import assert from 'node:assert/strict';
import { systemClock } from '../../src/lib/clock.ts';
import { ecsEnvironment } from '../../src/simulator/ecs/ecs-server.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts';

export interface EcsSimulationForTest {
  /** Of the ECS API. */
  readonly endpoint: string;
  /** Makes the SDK, and any process, ask it. */
  readonly env: Readonly<Record<string, string>>;
  /** Asks the control server: `control('PUT', '/ecs/faults', { all: 'throttle' })`. Fails unless the answer is 200. */
  control(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<never>;
  readonly simulator: Simulator;
}

/** A simulated fleet with an ECS endpoint, for the length of the test. Default: 3 nodes in the cluster `demo`. */
export async function startEcsSimulation(
  t: { after(fn: () => unknown): void },
  options: Partial<SimulatorOptions> = {},
): Promise<EcsSimulationForTest> {
  const defaults = { nodes: 3, basePort: 0, cluster: 'demo', seed: 's', clock: systemClock, ecs: true };
  const simulator = await startSimulator({ ...defaults, ...options });
  t.after(() => simulator.close());
  const endpoint = simulator.ecsEndpoint;
  assert.ok(endpoint !== null);
  return {
    endpoint,
    env: ecsEnvironment(endpoint),
    simulator,
    control: async (method, path, body) => {
      const sent = body === undefined ? null : JSON.stringify(body);
      const response = await fetch(new URL(path, simulator.controlUrl), { method, body: sent });
      const text = await response.text();
      assert.equal(response.status, 200, `${method} ${path}: ${text}`);
      return JSON.parse(text) as never;
    },
  };
}
