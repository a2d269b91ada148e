import type { EcsAgentLink } from '../node-simulation.ts';
import { containerInstanceArn, type SimulatedNode } from '../simulated-node.ts';
import type { EcsSimulation } from './ecs-simulation.ts';
import { registeredInstance } from './simulated-instance.ts';
import { type EcsWorld, withInstances } from './world.ts';

/** Tells the simulated ECS what a node's ecs-agent does. */
export function ecsAgentLink(ecs: EcsSimulation, node: SimulatedNode, agentVersion: string): EcsAgentLink {
  let arn = '';
  const change = (step: (world: EcsWorld) => EcsWorld) =>
    ecs.change((state) => ({ ...state, world: step(state.world) }));
  return {
    registered: (generation) => {
      const before = arn;
      arn = containerInstanceArn(node, generation, agentVersion !== '1.0.0');
      const [wallMs, nowMs] = [ecs.clock.wallMs(), ecs.clock.monotonicMs()];
      // Those of the start are as if registered long ago.
      const visibleFromMs = generation === 0 ? nowMs : nowMs + ecs.state().registrationDelayMs;
      const instance = registeredInstance({ node, agentVersion, generation, wallMs, visibleFromMs });
      change((world) => withInstances(withConnection(world, before, false), [instance]));
    },
    connected: (connected) => change((world) => withConnection(world, arn, connected)),
  };
}

/** One that is not there (it was removed, or has got another ARN) stays away. */
function withConnection(world: EcsWorld, arn: string, agentConnected: boolean): EcsWorld {
  const instance = world.instances.get(arn);
  return instance ? withInstances(world, [{ ...instance, agentConnected }]) : world;
}
