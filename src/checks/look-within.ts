import type { Clock } from '../timing/clock.ts';
import { formatDuration } from '../timing/duration.ts';
import { DeadlineError, withDeadline } from '../timing/with-deadline.ts';
import type { Observation } from './observe-check.ts';

/** What a look that took too long has seen. The limit is in it, not the time that passed: a reason must not tick. */
export const noAnswer = (timeoutMs: number): Observation => ({
  status: 'critical',
  reason: `no answer within ${formatDuration(timeoutMs)}`,
});

/** Runs a look that may take `timeoutMs` at most. @throws what the look throws, or the reason of `signal` */
export async function lookWithin(
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
  look: (signal: AbortSignal) => Promise<Observation>,
): Promise<Observation> {
  try {
    return await withDeadline(clock, timeoutMs, signal, 'the look', look);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof DeadlineError) return noAnswer(timeoutMs);
    throw error;
  }
}
