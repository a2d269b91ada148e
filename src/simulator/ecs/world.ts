import type { SimulatedInstance } from './simulated-instance.ts';
import type { SimulatedTask, TaskDefinition } from './task-definition.ts';

/** What the simulated ECS knows. It never changes; each request makes a new one, or hands on the one it got. */
export interface EcsWorld {
  readonly accountId: string;
  /** ARNs. Each names its region: a request of another region sees none of them. */
  readonly clusters: ReadonlySet<string>;
  /** By ARN. */
  readonly instances: ReadonlyMap<string, SimulatedInstance>;
  /** By family: its revisions, from 1. */
  readonly taskDefinitions: ReadonlyMap<string, readonly TaskDefinition[]>;
  /** Running ones, by ARN. */
  readonly tasks: ReadonlyMap<string, SimulatedTask>;
  /** Rises with each task, so that no two share an id. */
  readonly serial: number;
}

export function emptyWorld(accountId: string): EcsWorld {
  const nothing = new Map<string, never>();
  return { accountId, clusters: new Set(), instances: nothing, taskDefinitions: nothing, tasks: nothing, serial: 0 };
}

export function withCluster(world: EcsWorld, arn: string): EcsWorld {
  return world.clusters.has(arn) ? world : { ...world, clusters: new Set([...world.clusters, arn]) };
}

/** Each replaces the one of the same ARN. */
export function withInstances(world: EcsWorld, changed: readonly SimulatedInstance[]): EcsWorld {
  const instances = new Map(world.instances);
  for (const instance of changed) instances.set(instance.containerInstanceArn, instance);
  return { ...world, instances };
}

export function withoutInstance(world: EcsWorld, arn: string): EcsWorld {
  const instances = new Map(world.instances);
  instances.delete(arn);
  return { ...world, instances };
}
