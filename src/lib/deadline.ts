import type { Clock } from './clock.ts';

/** Why a signal made by `withDeadline` aborted. `timeoutMs` is the limit that was passed. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError';
  readonly timeoutMs: number;
  constructor(action: string, timeoutMs: number) {
    super(`${action}: no answer within ${Math.round(timeoutMs)} ms`);
    this.timeoutMs = timeoutMs;
  }
}

/** One for all: without a reason each abort makes a DOMException with a stack, the dearest part of a short call. */
const WORK_ENDED = new Error('the work ended before its deadline');

/**
 * Runs `work` with a signal that aborts when `signal` does or when `timeoutMs` has passed, whichever is first, and
 * settles at that moment even when `work` ignores its signal.
 * Written out instead of `AbortSignal.any`, because that keeps every derived signal reachable from a long-lived parent.
 * @throws DeadlineError naming `action`, or the reason of `signal`
 */
export async function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
  action: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const controller = new AbortController();
  const timer = new AbortController();
  const onAbort = () => controller.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  clock.sleep(timeoutMs, timer.signal).then(
    () => controller.abort(new DeadlineError(action, timeoutMs)),
    () => {}, // the work ended first and stopped the timer
  );
  try {
    return await Promise.race([
      work(controller.signal),
      new Promise<never>((_, reject) => {
        controller.signal.addEventListener('abort', () => reject(controller.signal.reason), { once: true });
      }),
    ]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    timer.abort(WORK_ENDED);
  }
}

/** Settles as `work` does, or rejects with the signal's reason when `signal` aborts first; `work` then goes on unheard. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** A controller that aborts with the first of several signals, until it is unlinked. */
export interface Linked {
  readonly controller: AbortController;
  unlink(): void;
}

/** Written out instead of `AbortSignal.any`, because that keeps every derived signal reachable from a long-lived parent. */
export function linkSignals(...signals: readonly (AbortSignal | undefined)[]): Linked {
  const controller = new AbortController();
  const stops = signals.map((signal) => {
    if (!signal) return () => {};
    const onAbort = () => controller.abort(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    return () => signal.removeEventListener('abort', onAbort);
  });
  return {
    controller,
    unlink() {
      for (const stop of stops) stop();
    },
  };
}
