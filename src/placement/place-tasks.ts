import type { TaskNeeds } from '../ecs/task-needs.ts';
import type { Candidate } from './candidate.ts';
import type { PassedOver } from './passed-over.ts';
import { after, capacity, shortfalls } from './room.ts';
import { CHOOSE, type Slot, type Strategy } from './strategies.ts';

export interface PlaceOptions {
  readonly strategy: Strategy;
  /** Tasks to place, at least 1. */
  readonly count: number;
}

export interface Placed {
  /** The node of each task; empty when not all fit: a part is never placed. */
  readonly placements: readonly Candidate[];
  /** How many of the tasks fit. */
  readonly room: number;
  /** Candidates without room; where not all tasks fit, also those that have room for some, and what ends it. */
  readonly passedOver: readonly PassedOver[];
}

/** Places equal tasks; pure, and the same for the same candidates in any order, but for `random`. */
export function placeTasks(
  candidates: readonly Candidate[],
  needs: TaskNeeds,
  { strategy, count }: PlaceOptions,
  random: () => number,
): Placed {
  const slots: Slot[] = candidates.map((node) => ({
    node,
    free: Math.min(node.mostTasks, capacity(node.remaining, needs, count)),
  }));
  const room = Math.min(
    count,
    slots.reduce((sum, { free }) => sum + free, 0),
  );
  const passedOver = slots
    .filter(({ free }) => (room < count ? true : free === 0))
    .map((slot) => outOfRoom(slot, needs));
  if (room < count) return { placements: [], room, passedOver };
  const open = slots.filter(({ free }) => free > 0);
  return { placements: CHOOSE[strategy](open, count, random), room, passedOver };
}

function outOfRoom({ node, free }: Slot, needs: TaskNeeds): PassedOver {
  const { instanceId, containerInstanceArn, privateIpAddress, remaining } = node;
  const lacks = shortfalls(after(remaining, needs, free), needs).join('; ') || 'its GPUs are enough for no more';
  const reason = free === 0 ? lacks : `full after ${free} ${free === 1 ? 'task' : 'tasks'}: ${lacks}`;
  return { instanceId, containerInstanceArn, privateIpAddress, test: 'room', reason };
}
