import type { Clock } from './clock.ts';

/** The reason of a signal that `withDeadline` aborted. `timeoutMs` is the limit that was exceeded. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
  readonly timeoutMs: number;
  constructor(action: string, timeoutMs: number) {
    super(`${action}: no answer within ${Math.round(timeoutMs)} ms`);
    this.timeoutMs = timeoutMs;
  }
}

/** Shared: an abort without a reason creates a DOMException with a stack, the most expensive part of a short call. */
const WORK_ENDED = new Error('the work ended before its deadline');

/**
 * Runs `work` with a signal that aborts when `signal` does or when `timeoutMs` has passed, whichever is first, and
 * settles at that moment even when `work` ignores its signal.
 * Every call of the store passes here, so this creates as little as it can.
 * @param ending of the signal that `work` gets: a caller that has a reason of its own may abort it, too
 * @throws DeadlineError naming `action`, or the reason of `signal`
 */
export function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
  action: string,
  work: (signal: AbortSignal) => Promise<T>,
  ending = new AbortController(),
): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = new AbortController();
    const abort = () => ending.abort(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    clock.sleep(timeoutMs, timer.signal).then(
      () => ending.abort(new DeadlineError(action, timeoutMs)),
      () => {}, // the work ended first and stopped the timer
    );
    let isOver = false;
    const end = () => {
      if (isOver) return;
      isOver = true;
      signal.removeEventListener('abort', abort);
      ending.signal.removeEventListener('abort', giveUp);
      timer.abort(WORK_ENDED);
    };
    const fail = (error: unknown) => {
      end();
      reject(error);
    };
    const giveUp = () => fail(ending.signal.reason);
    try {
      work(ending.signal).then((value) => {
        end();
        resolve(value);
      }, fail);
    } catch (error) {
      fail(error);
      return;
    }
    if (ending.signal.aborted) giveUp();
    else ending.signal.addEventListener('abort', giveUp, { once: true });
  });
}
