import type { ContainerInstance } from '../ecs/container-instance.ts';
import type { AuditMemory } from './audit-memory.ts';
import type { BothSides } from './both-sides.ts';

/** What a node is judged by. */
export interface Known extends BothSides {
  readonly byArn: ReadonlyMap<string, ContainerInstance>;
  readonly memory: AuditMemory;
  readonly nowMs: number;
}
