import { UsageError } from '../../errors.ts';
import { requireObject } from '../require-object.ts';
import { REGION, simulatedNode } from '../simulated-node.ts';
import { clusterArn } from './cluster-arn.ts';
import type { EcsSimulation } from './ecs-simulation.ts';
import { INSTANCE_KEYS, parseInstanceChange } from './parse-instance-change.ts';
import { registeredInstance, type SimulatedInstance } from './simulated-instance.ts';
import { wireInstance } from './wire-instance.ts';
import { withCluster, withInstances, withoutInstance } from './world.ts';

/** At once. */
const MAX_ADDED = 10_000;

export function listInstances(ecs: EcsSimulation): unknown {
  return { instances: [...ecs.state().world.instances.values()].map(brief) };
}

export function describeInstance(ecs: EcsSimulation, _body: () => unknown, id: string): unknown {
  const instance = find(ecs, id);
  return { ...wireInstance(instance), clusterArn: instance.clusterArn };
}

/** Makes a node disconnected, or a mismatch; the node itself does not notice. */
export function changeInstance(ecs: EcsSimulation, body: () => unknown, id: string): unknown {
  const before = find(ecs, id);
  const after = parseInstanceChange(body())(before);
  ecs.change((state) => {
    const without = withoutInstance(withCluster(state.world, after.clusterArn), before.containerInstanceArn);
    return { ...state, world: withInstances(without, [after]) };
  });
  return describeInstance(ecs, body, after.containerInstanceArn.split('/').at(-1) ?? '');
}

/** Makes a stray: a node that ECS does not know. */
export function removeInstance(ecs: EcsSimulation, _body: () => unknown, id: string): unknown {
  const gone = find(ecs, id);
  ecs.change((state) => ({ ...state, world: withoutInstance(state.world, gone.containerInstanceArn) }));
  return { removed: brief(gone) };
}

/** Makes ghosts: `{"cluster":"demo","count":2}` and what else the instances shall differ in; no node answers for them. */
export function addInstances(ecs: EcsSimulation, body: () => unknown): unknown {
  const { count = 1, cluster, ...members } = requireObject('ECS instances', ['count', ...INSTANCE_KEYS], body());
  if (!Number.isSafeInteger(count) || Number(count) < 1 || Number(count) > MAX_ADDED)
    throw new UsageError(`ECS instances: count: expected 1 to ${MAX_ADDED}, got ${JSON.stringify(count)}`);
  if (typeof cluster !== 'string') throw new UsageError('ECS instances: cluster: expected the name of a cluster');
  if (count !== 1 && (members.containerInstanceArn ?? members.ec2InstanceId) !== undefined)
    throw new UsageError('ECS instances: count: an ARN or an EC2 instance id belongs to one instance');
  const change = parseInstanceChange({ ...members, cluster });
  const [wallMs, nowMs] = [ecs.clock.wallMs(), ecs.clock.monotonicMs()];
  const { world, registrationDelayMs } = ecs.state();
  const added = Array.from({ length: Number(count) }, (_, index): SimulatedInstance => {
    const node = simulatedNode(world.serial + index, { seed: 'no node', cluster });
    const at = { wallMs, visibleFromMs: nowMs + registrationDelayMs };
    return change(registeredInstance({ node, agentVersion: '1.70.0', generation: 0, ...at }));
  });
  const grown = withInstances(withCluster(world, clusterArn(world.accountId, REGION, cluster)), added);
  ecs.change((state) => ({ ...state, world: { ...grown, serial: world.serial + added.length } }));
  return { instances: added.map(brief) };
}

function brief({ containerInstanceArn, ec2InstanceId, status, agentConnected }: SimulatedInstance): unknown {
  return { containerInstanceArn, ec2InstanceId, status, agentConnected };
}

/** By the last part of its ARN, or by its EC2 instance: of several registrations of that the latest. */
function find(ecs: EcsSimulation, id: string): SimulatedInstance {
  const all = [...ecs.state().world.instances.values()];
  const found = all.findLast((one) => one.ec2InstanceId === id || one.containerInstanceArn.endsWith(`/${id}`));
  if (found) return found;
  throw new UsageError(`no container instance has the id ${id}; GET /ecs/instances lists them`);
}
