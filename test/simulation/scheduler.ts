/**
 * Simulated time: a queue of what is due, carried out one at a time. Between two of them all promises settle, so the same
 * seed gives the same order of everything. Nothing in a simulation waits for the machine.
 */
export interface Scheduler {
  /** Milliseconds since the beginning of the simulation. */
  nowMs(): number;
  /** Runs `run` at that instant, or now if it has passed; those of one instant in the order in which they were asked for. */
  at(atMs: number, run: () => void): Timer;
  after(delayMs: number, run: () => void): Timer;
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

interface Due extends Timer {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | null;
}

/** One turn of the event loop carries out so many steps: a turn costs more than most steps. */
const STEPS_PER_TURN = 64;

/** A loop that never lets the time go on would hang the simulation. */
const MAX_STEPS_PER_INSTANT = 50_000;

export function createScheduler(): Scheduler {
  const heap: Due[] = [];
  let now = 0;
  let order = 0;
  let pending = 0;
  let steps = 0;
  let stepsNow = 0;

  const isBefore = (a: Due, b: Due) => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

  function push(due: Due) {
    let index = heap.length;
    heap.push(due);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent] as Due;
      if (isBefore(above, due)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = due;
  }

  function pop(): void {
    const last = heap.pop() as Due;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Due, heap[child] as Due)) child += 1;
      const below = heap[child] as Due;
      if (isBefore(last, below)) break;
      heap[index] = below;
      index = child;
    }
    heap[index] = last;
  }

  /** The next that was not cancelled; null: nothing is due by then. */
  function take(untilMs: number): (() => void) | null {
    for (let due = heap[0]; due && due.atMs <= untilMs; due = heap[0]) {
      pop();
      const { run, atMs } = due;
      if (run === null) continue;
      due.run = null;
      pending -= 1;
      if (atMs > now) stepsNow = 0;
      now = Math.max(now, atMs);
      return run;
    }
    return null;
  }

  function at(atMs: number, run: () => void): Timer {
    const due: Due = {
      atMs: Math.max(atMs, now),
      order: order++,
      run,
      cancel() {
        if (due.run === null) return;
        due.run = null;
        pending -= 1;
      },
    };
    pending += 1;
    push(due);
    return due;
  }

  return {
    nowMs: () => now,
    at,
    after: (delayMs, run) => at(now + delayMs, run),
    pending: () => pending,
    steps: () => steps,
    run: (untilMs, beforeStep) =>
      new Promise((resolve, reject) => {
        let ended = false;
        // Each in a callback of its own: Node settles all promises between two of them.
        const step = () => {
          if (ended) return;
          try {
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
            run();
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
