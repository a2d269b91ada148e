import type { TaskNeeds } from '../ecs/ecs-api.ts';
import {
  type Candidate,
  capacity,
  type PassedOver,
  PLACEMENT_TESTS,
  remainingAfter,
  shortfalls,
} from './judge-nodes.ts';

export const STRATEGIES = ['binpack', 'spread', 'random'] as const;
export type Strategy = (typeof STRATEGIES)[number];

interface PlaceOptions {
  readonly strategy: Strategy;
  /** Tasks to place, at least 1. */
  readonly count: number;
}

interface Placed {
  /** The node of each task; empty if not all tasks fit. */
  readonly placements: readonly Candidate[];
  /** How many of the tasks fit. */
  readonly room: number;
  /** Candidates without room. If not all tasks fit, also those with room for some of them, with what is missing. */
  readonly passedOver: readonly PassedOver[];
}

/** Places equal tasks; pure except for `random`. The order of the candidates does not matter. */
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
  const lacks = shortfalls(remainingAfter(remaining, needs, free), needs).join('; ') || 'no GPU left';
  const reason = free === 0 ? lacks : `full after ${free} ${free === 1 ? 'task' : 'tasks'}: ${lacks}`;
  return { instanceId, containerInstanceArn, privateIpAddress, test: 'room', reason };
}

/** The node that passed the most tests; among equals the first. null if there is no node. */
export function closestNode(passedOver: readonly PassedOver[]): PassedOver | null {
  const passed = ({ test }: PassedOver) => PLACEMENT_TESTS.indexOf(test);
  return passedOver.reduce<PassedOver | null>(
    (closest, each) => (closest === null || passed(each) > passed(closest) ? each : closest),
    null,
  );
}

/** A candidate and how many more tasks fit on it. */
interface Slot {
  readonly node: Candidate;
  free: number;
}

/** Chooses a node for each of `count` tasks. The slots have room for all of them; `free` is changed. */
type Choose = (slots: Slot[], count: number, random: () => number) => readonly Candidate[];

const CHOOSE: Readonly<Record<Strategy, Choose>> = { binpack, spread, random: atRandom };

/**
 * Uses the fewest nodes and, among equal numbers of nodes, those with the least memory left, then the least CPU, so that
 * whole nodes stay free. For one task this is ECS's binpack by memory:
 * https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement-strategies.html
 */
function binpack(slots: Slot[], count: number): readonly Candidate[] {
  const byLeastRoom = slots.toSorted((a, b) => byMemory(a, b) || byCpu(a, b) || byArn(a, b));
  const byMostRoom = slots.toSorted((a, b) => b.free - a.free);
  const chosen: Candidate[] = [];
  for (let left = count; left > 0; ) {
    // The nodes with the most room give the fewest nodes. Take a fuller node first if the rest still fits on one node less.
    let others = 0;
    let reach = 0;
    while (reach + (byMostRoom[others]?.free ?? left) < left) reach += byMostRoom[others++]?.free ?? 0;
    const slot = byLeastRoom.find(({ free }) => free >= left - reach) as Slot;
    const tasks = Math.min(slot.free, left);
    for (let task = 0; task < tasks; task += 1) chosen.push(slot.node);
    left -= tasks;
    byLeastRoom.splice(byLeastRoom.indexOf(slot), 1);
    byMostRoom.splice(byMostRoom.indexOf(slot), 1);
  }
  return chosen;
}

/**
 * Each task goes to the node with the fewest tasks, running and newly placed; among equals to the one with the most memory
 * left. So a node that got a task has at most one task more than any node with room.
 */
function spread(slots: Slot[], count: number): readonly Candidate[] {
  const given = new Map<Slot, number>();
  const tasks = (slot: Slot) => slot.node.tasks + (given.get(slot) ?? 0);
  const chosen: Candidate[] = [];
  // Sorted by the tie-breaker, so that the first of the emptiest nodes is chosen.
  const ordered = slots.toSorted((a, b) => byMemory(b, a) || byArn(a, b));
  while (chosen.length < count) {
    let emptiest: Slot | null = null;
    for (const slot of ordered) if (slot.free > 0 && (!emptiest || tasks(slot) < tasks(emptiest))) emptiest = slot;
    if (!emptiest) break;
    emptiest.free -= 1;
    given.set(emptiest, (given.get(emptiest) ?? 0) + 1);
    chosen.push(emptiest.node);
  }
  return chosen;
}

/** Each task goes to a random node with room. */
function atRandom(slots: Slot[], count: number, random: () => number): readonly Candidate[] {
  const open = slots.filter(({ free }) => free > 0).toSorted(byArn);
  const chosen: Candidate[] = [];
  while (chosen.length < count) {
    const at = Math.min(Math.floor(random() * open.length), open.length - 1);
    const slot = open[at];
    if (!slot) break;
    chosen.push(slot.node);
    slot.free -= 1;
    if (slot.free === 0) open.splice(at, 1);
  }
  return chosen;
}

function byMemory(a: Slot, b: Slot): number {
  return a.node.remaining.memoryMiB - b.node.remaining.memoryMiB;
}

function byCpu(a: Slot, b: Slot): number {
  return a.node.remaining.cpuUnits - b.node.remaining.cpuUnits;
}

function byArn(a: Slot, b: Slot): number {
  return a.node.containerInstanceArn < b.node.containerInstanceArn ? -1 : 1;
}
