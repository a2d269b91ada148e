import type { Attribute } from './container-instance.ts';
import type { TaskNeeds } from './task-needs.ts';

/** What a task definition says of where its tasks can run. */
export interface DefinedTask {
  readonly needs: TaskNeeds;
  readonly requirements: TaskRequirements;
  /** The tasks have addresses of their own (`awsvpc`): whoever starts one has to name subnets. */
  readonly needsSubnets: boolean;
}

/** What an instance has, or has not, whatever runs on it. */
export interface TaskRequirements {
  /** With a value only where it has to be that one. */
  readonly attributes: readonly Attribute[];
  readonly gpus: number;
  /** Of these no two tasks have the same one; 0: none is asked for by number. */
  readonly ownGpus: number;
}
