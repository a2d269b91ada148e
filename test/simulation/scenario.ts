import { seededRandom } from '../support/seeded-random.ts';

/** What one simulation goes through. All that is left to chance follows from it, so that it can be run again exactly. */
export interface Scenario {
  readonly seed: number;
  readonly nodes: number;
  /** Of etcd: 1 or 3. */
  readonly members: number;
  readonly readers: number;
  readonly ttlMs: number;
  readonly minutes: number;
  readonly faults: readonly Fault[];
}

/** `host`: a node's index; from `READERS` on a reader's host. `member`: of etcd, or `LEADER`. */
export interface Fault {
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly forMs: number;
  readonly host: number;
  readonly member: number;
  /** Between 0 and 1: how bad it is. */
  readonly force: number;
}

/** Each with how often it comes, compared to the others. */
const KINDS = {
  // Of one host.
  crash: 6,
  reboot: 3,
  restart: 4,
  stop: 3,
  terminate: 3,
  freeze: 5,
  clone: 3,
  'jump-wall': 3,
  drift: 1,
  change: 8,
  // No faults: what agents agree on through the store.
  drain: 4,
  lead: 4,
  // Of the network.
  cut: 5,
  refuse: 2,
  loss: 4,
  'cut-all': 4,
  // Of the store.
  'stop-member': 3,
  'stop-store': 2,
  pause: 4,
  isolate: 2,
  lag: 3,
  slow: 2,
  full: 1,
  'move-leader': 3,
  compact: 6,
  'delete-key': 4,
  'lose-second': 1,
  restore: 1,
} as const;
export type FaultKind = keyof typeof KINDS;

export const LEADER = -1;
export const READERS = 1_000;

/**
 * Faults come for so long, and then none for longer than it takes to see that all is well again. With a hundred nodes this is
 * about one fault in two node-hours, some hundred times what a real fleet has.
 */
const STORM_MINUTES = 20;
export const CALM_MINUTES = 40;
const MEAN_GAP_MS = 25_000;

/** Whether faults may begin at this instant. */
export function isStormy(atMs: number): boolean {
  return (atMs / 60_000) % (STORM_MINUTES + CALM_MINUTES) < STORM_MINUTES;
}

/** How many node-hours it has. */
export function nodeHoursOf({ nodes, minutes }: Scenario): number {
  return (nodes * minutes) / 60;
}

/** Since when no fault may be under way, at this instant in a calm. */
export function calmSinceMs(atMs: number): number {
  const round = (STORM_MINUTES + CALM_MINUTES) * 60_000;
  return Math.floor(atMs / round) * round + STORM_MINUTES * 60_000;
}

const TTLS_MS = [10, 15, 30, 30, 30, 60, 60, 60, 120, 300].map((seconds) => seconds * 1_000);

/**
 * @param nodeHours about how long with a TTL of 60 s. With others in proportion: a scenario has about as many heartbeats as
 * any other. It has at least one storm and one calm
 */
export function scenarioOf(seed: number, nodeHours: number): Scenario {
  const random = seededRandom(seed);
  const ttlMs = TTLS_MS[Math.floor(random() * TTLS_MS.length)] as number;
  const hours = (nodeHours * ttlMs) / 60_000;
  // What does not depend on their number, such as the readers, costs less for each of many.
  const nodes = Math.min(5 + Math.floor(random() ** 0.5 * (ttlMs < 30_000 ? 45 : 245)), Math.max(8, Math.round(hours)));
  const round = STORM_MINUTES + CALM_MINUTES;
  const minutes = Math.max(1, Math.round((hours * 60) / nodes / round)) * round;
  const members = random() < 0.25 ? 1 : 3;
  const readers = 2;
  const faults: Fault[] = [];
  const weights = Object.entries(KINDS) as [FaultKind, number][];
  const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
  const draw = (): FaultKind => {
    let dice = random() * total;
    for (const [kind, weight] of weights) {
      dice -= weight;
      if (dice < 0) return kind;
    }
    return 'crash';
  };
  // Everything has registered by then.
  for (let atMs = 60_000; atMs < minutes * 60_000; atMs += -Math.log(1 - random()) * MEAN_GAP_MS) {
    const longest = calmSinceMs(atMs) - atMs;
    const long = random() < 0.15 ? 10 : random() < 0.5 ? 1.5 : 0.3;
    const fault = {
      kind: draw(),
      atMs: Math.round(atMs),
      forMs: Math.round(Math.max(1_000, Math.min(random() * long * ttlMs, longest))),
      host: random() < 0.2 ? READERS + Math.floor(random() * readers) : Math.floor(random() * nodes),
      member: random() < 0.5 ? LEADER : Math.floor(random() * members),
      force: random(),
    };
    if (isStormy(atMs)) faults.push(fault);
  }
  return { seed, nodes, members, readers, ttlMs, minutes, faults };
}
