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
  const group = new AbortController();
  const stop = () => group.abort(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  const running = tasks.map(async (task) => task(group.signal));
  try {
    return await Promise.race(running);
  } finally {
    group.abort(new Error('another task of the group ended'));
    await Promise.allSettled(running);
    signal.removeEventListener('abort', stop);
  }
}
