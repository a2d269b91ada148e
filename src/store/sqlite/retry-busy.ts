import { Backoff } from '../../timing/backoff.ts';
import type { Clock } from '../../timing/clock.ts';
import { isBusy, translateError } from './translate-error.ts';

/** How long SQLite itself may wait for a lock. It blocks this process meanwhile, so the longer wait is ours. */
export const BUSY_TIMEOUT_MS = 50;

/** Together with the waits between: the deadline of a request. */
export const REQUEST_TIMEOUT_MS = 5_000;

export interface RetryDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
}

/**
 * Runs `work`, again while another process holds the lock, for up to `REQUEST_TIMEOUT_MS`.
 * @throws StoreError that starts with `action`, or the reason of `signal`
 */
export async function retryBusy<T>(deps: RetryDeps, signal: AbortSignal, action: string, work: () => T): Promise<T> {
  const giveUpMs = deps.clock.monotonicMs() + REQUEST_TIMEOUT_MS;
  for (let backoff = new Backoff(10, 200); ; backoff = backoff.next()) {
    signal.throwIfAborted();
    try {
      return work();
    } catch (error) {
      if (!isBusy(error) || deps.clock.monotonicMs() >= giveUpMs) throw translateError(action, error);
    }
    await deps.clock.sleep(backoff.delayMs(deps.random()), signal);
  }
}
