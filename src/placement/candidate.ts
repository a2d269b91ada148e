import type { Resources } from '../ecs/container-instance.ts';

/** A node that may be given tasks, as far as it has the room. */
export interface Candidate {
  readonly instanceId: string;
  readonly containerInstanceArn: string;
  readonly privateIpAddress: string | null;
  /** What its tasks have not taken. */
  readonly remaining: Resources;
  /** Running and pending ones, as ECS counts them. */
  readonly tasks: number;
  /** No more of the new ones have GPUs of their own there, whatever else runs; Infinity: they need none. */
  readonly mostTasks: number;
}
