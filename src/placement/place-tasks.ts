import type { TaskNeeds } from '../ecs/ecs-api.ts';
import { after, type Candidate, capacity, type PassedOver, PLACEMENT_TESTS, shortfalls } from './judge-nodes.ts';

export const STRATEGIES = ['binpack', 'spread', 'random'] as const;
export type Strategy = (typeof STRATEGIES)[number];

/** A candidate and how many tasks it still takes. */
export interface Slot {
  readonly node: Candidate;
  free: number;
}

/** Chooses a node for each of `count` tasks. The slots have room for all of them; they are used up. */
type Choose = (slots: Slot[], count: number, random: () => number) => readonly Candidate[];

export const CHOOSE: Readonly<Record<Strategy, Choose>> = { binpack, spread, random: atRandom };

/**
 * The fewest nodes; among as few, those with the least memory left, then the least CPU: what is nearly full is filled
 * up, and whole nodes stay free. Of one task that is ECS's binpack by memory:
 * https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement-strategies.html
 */
function binpack(slots: Slot[], count: number): readonly Candidate[] {
  const tightest = slots.toSorted((a, b) => byMemory(a, b) || byCpu(a, b) || byId(a, b));
  const roomiest = slots.toSorted((a, b) => b.free - a.free);
  const chosen: Candidate[] = [];
  for (let left = count; left > 0; ) {
    // The roomiest nodes make the fewest. A tight one may come first if, after it, the rest still fits on one node less.
    let others = 0;
    let reach = 0;
    while (reach + (roomiest[others]?.free ?? left) < left) reach += roomiest[others++]?.free ?? 0;
    const slot = tightest.find(({ free }) => free >= left - reach) as Slot;
    const tasks = Math.min(slot.free, left);
    for (let task = 0; task < tasks; task += 1) chosen.push(slot.node);
    left -= tasks;
    tightest.splice(tightest.indexOf(slot), 1);
    roomiest.splice(roomiest.indexOf(slot), 1);
  }
  return chosen;
}

/**
 * Each task goes where the fewest are, running ones and those of this placement counted; among equals, where the most
 * memory is left. So no node that got a task has over one more than a node with room to spare.
 */
function spread(slots: Slot[], count: number): readonly Candidate[] {
  const given = new Map<Slot, number>();
  const tasks = (slot: Slot) => slot.node.tasks + (given.get(slot) ?? 0);
  const chosen: Candidate[] = [];
  // In the order of a tie, the first of the emptiest is the one.
  const ordered = slots.toSorted((a, b) => byMemory(b, a) || byId(a, b));
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

/** Each task goes to any node with room, all equally likely. */
function atRandom(slots: Slot[], count: number, random: () => number): readonly Candidate[] {
  const open = slots.filter(({ free }) => free > 0).toSorted(byId);
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

function byId(a: Slot, b: Slot): number {
  return a.node.containerInstanceArn < b.node.containerInstanceArn ? -1 : 1;
}

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

/** The node that came closest: it passed the most tests; among equals the first. Null where there was no node at all. */
export function nearestMiss(passedOver: readonly PassedOver[]): PassedOver | null {
  const passed = ({ test }: PassedOver) => PLACEMENT_TESTS.indexOf(test);
  return passedOver.reduce<PassedOver | null>(
    (nearest, each) => (nearest === null || passed(each) > passed(nearest) ? each : nearest),
    null,
  );
}
