// One EC2 instance in the network namespace it is started in: its metadata on port 80 of 169.254.169.254, ecs-agent's
// introspection on port 51678. SIGUSR1 takes ecs-agent away, SIGUSR2 brings it back.

import { systemClock } from '../../../src/lib/clock.ts';
import { startNodeSimulation } from '../../../src/simulator/node-simulation.ts';
import { simulatedNode } from '../../../src/simulator/simulated-node.ts';

const node = simulatedNode(Number(process.argv[2] ?? 0), { seed: 'host', cluster: 'demo' });
const simulation = await startNodeSimulation({
  node,
  host: '0.0.0.0',
  imdsPort: 80,
  introspectionPort: 51_678,
  clock: systemClock,
  allowV1: false,
  agentVersion: '1.70.0',
});
process.on('SIGUSR1', () => void simulation.setFaults({ introspection: 'refuse' }));
process.on('SIGUSR2', () => void simulation.setFaults({ introspection: 'none' }));
process.stdout.write(`${node.instanceId}\n`);
