import { abortable } from './abort.ts';
import { deferred } from './deferred.ts';

/** Runs at most `count` pieces of work at the same time; the others wait in order, or until their signal aborts. */
export function createSlots(count: number) {
  let free = count;
  const waiting = new Set<() => void>();

  async function enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (free > 0) {
      free -= 1;
      return;
    }
    const { promise, resolve } = deferred<void>();
    waiting.add(resolve);
    try {
      await abortable(promise, signal);
    } catch (error) {
      // The slot was handed to this waiter just before the abort: pass it on.
      if (!waiting.delete(resolve)) leave();
      throw error;
    }
  }

  /** Hands the slot to the first waiter, so that a newcomer cannot take it first. */
  function leave() {
    const [next] = waiting;
    if (next === undefined) {
      free += 1;
      return;
    }
    waiting.delete(next);
    next();
  }

  return async <T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> => {
    await enter(signal);
    try {
      return await work();
    } finally {
      leave();
    }
  };
}
