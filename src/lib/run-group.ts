import { linkSignals, untilAborted } from './abort.ts';
import type { Clock } from './clock.ts';
import { describeError } from './errors.ts';

/** A task of a group: runs until its work is done or `signal` aborts. */
export type Task<T> = (signal: AbortSignal) => Promise<T>;

/**
 * Runs tasks together: the first to end, well or badly, ends all, and what it ended with is what the group ends with.
 * Waits until every task has ended, so that nothing of the group is left behind. Later failures are consequences and
 * are not reported.
 * @param signal aborts all tasks; the group then rejects with its reason
 */
export async function runGroup<T>(tasks: readonly Task<T>[], signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  using group = linkSignals(signal);
  const running = tasks.map(async (task) => task(group.signal));
  try {
    return await Promise.race(running);
  } finally {
    group.abort(new Error('another task of the group ended'));
    await Promise.allSettled(running);
  }
}

/**
 * A loop for a group that it is not worth: when it breaks, it alone is broken, says so and goes on waiting with the
 * others.
 * @param onBroken called once, with what is true of it from then on
 */
export function harmless(loop: Task<unknown>, onBroken: (reason: string) => void): Task<never> {
  return async (signal) => {
    try {
      await loop(signal);
    } catch (error) {
      signal.throwIfAborted();
      onBroken(`stopped until the agent is restarted: ${describeError(error)}`);
    }
    // A group's first task to end ends the group: one that has nothing more to do waits with the others.
    return untilAborted(signal);
  };
}

/** How long ago a loop last moved, and how long it may take at most. */
export interface LoopAge {
  readonly name: string;
  readonly ageMs: number;
  readonly limitMs: number;
}

export interface LoopMonitor {
  /**
   * Registers a loop that promises to move at least every `limitMs` while it runs; the answer is to be called at each of
   * its steps, the first as it starts to run. Loops of one kind share a name, and the one nearest to its limit speaks for
   * all, so that the number of names is known beforehand.
   * @param runs false while the loop has nothing to do and may stand still; default: always true
   */
  track(name: string, limitMs: number, runs?: () => boolean): () => void;
  /** Of the loops that run, by name. */
  ages(): LoopAge[];
}

/** Knows which of our own loops still move: the truth behind `/healthz`. */
export function createLoopMonitor(clock: Clock): LoopMonitor {
  const loops: { name: string; limitMs: number; runs: () => boolean; steppedAtMs: number }[] = [];
  return {
    track(name, limitMs, runs = () => true) {
      const loop = { name, limitMs, runs, steppedAtMs: clock.monotonicMs() };
      loops.push(loop);
      return () => {
        loop.steppedAtMs = clock.monotonicMs();
      };
    },
    ages() {
      const nowMs = clock.monotonicMs();
      const worst = new Map<string, LoopAge>();
      for (const { name, limitMs, runs, steppedAtMs } of loops) {
        if (!runs()) continue;
        const age = { name, limitMs, ageMs: nowMs - steppedAtMs };
        const other = worst.get(name);
        if (!other || age.ageMs - age.limitMs > other.ageMs - other.limitMs) worst.set(name, age);
      }
      return [...worst.values()];
    },
  };
}
