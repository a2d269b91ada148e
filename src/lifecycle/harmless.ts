import { describeError } from '../errors.ts';
import type { Task } from './run-group.ts';

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
    return forever(signal);
  };
}

/** A group's first task to end ends the group: one that has nothing more to do waits with the others. */
function forever(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
