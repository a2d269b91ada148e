import { linkSignals, untilAborted } from './abort.ts';
import type { Clock } from './clock.ts';
import { describeError } from './errors.ts';

/** A task of a group: runs until its work is done or `signal` aborts. */
export type Task<T> = (signal: AbortSignal) => Promise<T>;

/**
 * Runs tasks together: the first one that ends, with a result or an error, ends the group with it and aborts the others.
 * Waits until every task has ended. Later errors are consequences of the first and are not reported.
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
 * Wraps a loop that must not end its group: when the loop fails, it reports that and then only waits for the abort.
 * @param onBroken called once with the reason, which holds until the agent is restarted
 */
export function harmless(loop: Task<unknown>, onBroken: (reason: string) => void): Task<never> {
  return async (signal) => {
    try {
      await loop(signal);
    } catch (error) {
      signal.throwIfAborted();
      onBroken(`stopped until the agent is restarted: ${describeError(error)}`);
    }
    // The first task to end ends the group, so a task without more to do has to wait.
    return untilAborted(signal);
  };
}

/** The time since a loop's last step, and the longest time that it may take. */
export interface LoopAge {
  readonly name: string;
  readonly ageMs: number;
  readonly limitMs: number;
}

export interface LoopMonitor {
  /**
   * Registers a loop that makes a step at least every `limitMs` while it runs. Loops of one kind share a name, and the one
   * nearest to its limit counts for all, so that the number of names is fixed.
   * @param runs false while the loop has nothing to do and may stand still; default: always true
   * @returns to be called at each step, the first when the loop starts to run
   */
  track(name: string, limitMs: number, runs?: () => boolean): () => void;
  /** The ages of the running loops, by name. */
  ages(): LoopAge[];
}

/** Tracks whether the agent's loops make progress: the source of `/healthz`. */
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
