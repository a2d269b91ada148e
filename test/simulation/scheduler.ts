/**
 * Simulated time: a queue of what is due, carried out one at a time. Between two of them all promises settle, so the same
 * seed gives the same order of everything. Nothing in a simulation waits for the machine.
 */
export interface Scheduler {
  /** Milliseconds since the beginning of the simulation. */
  nowMs(): number;
  /** Runs `run` at that instant, or now if it has passed; those of one instant in the order in which they were asked for. */
  at(atMs: number, run: Step): Timer;
  after(delayMs: number, run: Step): Timer;
  /** How many timers are pending. */
  pending(): number;
  /** Steps carried out so far. */
  steps(): number;
  /** Carries out all that is due until `untilMs`. Rejects with the first error that a step or `beforeStep` throws. */
  run(untilMs: number, beforeStep: () => void): Promise<void>;
}

export interface Timer {
  cancel(): void;
}

/** Said by a step that settled no promise: the next one need not wait for any. Half of all steps are of servers. */
export const QUIET = 'quiet';
export type Step = () => unknown;

/** One turn of the event loop carries out so many steps: a turn costs more than most steps. */
const STEPS_PER_TURN = 64;

/** A loop that never lets the time go on would hang the simulation. */
const MAX_STEPS_PER_INSTANT = 50_000;

class Due implements Timer {
  run: Step | null;
  readonly #counts: { pending: number };

  constructor(run: Step, counts: { pending: number }) {
    this.run = run;
    this.#counts = counts;
    counts.pending += 1;
  }

  cancel(): void {
    if (this.run === null) return;
    this.run = null;
    this.#counts.pending -= 1;
  }
}

export function createScheduler(): Scheduler {
  // A heap in three arrays: of objects it takes several times as long, and each heartbeat sets four timers.
  const instantsMs: number[] = [];
  const orders: number[] = [];
  const dues: Due[] = [];
  const counts = { pending: 0 };
  let now = 0;
  let order = 0;
  let steps = 0;
  let stepsNow = 0;

  /** Puts it at `hole` or above. */
  function rise(hole: number, atMs: number, number: number, due: Due) {
    let index = hole;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const aboveMs = instantsMs[parent] as number;
      if (aboveMs < atMs || (aboveMs === atMs && (orders[parent] as number) < number)) break;
      move(parent, index);
      index = parent;
    }
    put(index, atMs, number, due);
  }

  function put(index: number, atMs: number, number: number, due: Due) {
    instantsMs[index] = atMs;
    orders[index] = number;
    dues[index] = due;
  }

  const move = (from: number, to: number) =>
    put(to, instantsMs[from] as number, orders[from] as number, dues[from] as Due);

  const isBefore = (a: number, b: number) => {
    const [aMs, bMs] = [instantsMs[a] as number, instantsMs[b] as number];
    return aMs < bMs || (aMs === bMs && (orders[a] as number) < (orders[b] as number));
  };

  /** Takes the first away. */
  function pop(): void {
    const [atMs, number, due] = [instantsMs.pop() as number, orders.pop() as number, dues.pop() as Due];
    const { length } = dues;
    if (length === 0) return;
    // The hole sinks to the bottom, and the last one, which most often belongs there, rises from it.
    let hole = 0;
    for (let child = 1; child < length; child = 2 * hole + 1) {
      if (child + 1 < length && isBefore(child + 1, child)) child += 1;
      move(child, hole);
      hole = child;
    }
    rise(hole, atMs, number, due);
  }

  /** The next that was not cancelled; null: nothing is due by then. */
  function take(untilMs: number): Step | null {
    while (dues.length > 0 && (instantsMs[0] as number) <= untilMs) {
      const atMs = instantsMs[0] as number;
      const due = dues[0] as Due;
      pop();
      const { run } = due;
      if (run === null) continue;
      due.cancel();
      if (atMs > now) stepsNow = 0;
      now = Math.max(now, atMs);
      return run;
    }
    return null;
  }

  function at(atMs: number, run: Step): Timer {
    const due = new Due(run, counts);
    rise(dues.length, Math.max(atMs, now), order++, due);
    return due;
  }

  return {
    nowMs: () => now,
    at,
    after: (delayMs, run) => at(now + delayMs, run),
    pending: () => counts.pending,
    steps: () => steps,
    run: (untilMs, beforeStep) =>
      new Promise((resolve, reject) => {
        let ended = false;
        // In a callback of its own: Node settles all promises between two of them.
        const step = () => {
          if (ended) return;
          try {
            for (let isQuiet = true; isQuiet; ) {
              beforeStep();
              const run = take(untilMs);
              if (run === null) {
                ended = true;
                now = Math.max(now, untilMs);
                resolve();
                return;
              }
              steps += 1;
              stepsNow += 1;
              if (stepsNow > MAX_STEPS_PER_INSTANT)
                throw new Error(`${stepsNow} steps at ${now} ms: the time stands still`);
              isQuiet = run() === QUIET;
            }
          } catch (error) {
            ended = true;
            reject(error);
          }
        };
        const turn = () => {
          if (ended) return;
          for (let n = 0; n < STEPS_PER_TURN; n += 1) setImmediate(step);
          setImmediate(turn);
        };
        turn();
      }),
  };
}
