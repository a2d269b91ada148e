import { abortable } from './abort.ts';
import type { Clock } from './clock.ts';

/**
 * A value that one side sets and another waits for. Only the newest value is kept, so that loops can exchange values
 * without waiting for each other and without a queue that could grow.
 */
export interface Cell<T> {
  get(): T;
  set(value: T): void;
  /** Calls `listener` after each `set`. @returns a function that ends that */
  onChange(listener: () => void): () => void;
}

export function createCell<T>(initial: T): Cell<T> {
  let value = initial;
  // A few, and most for the length of one call: a set would make a hash for each.
  let listeners: readonly (() => void)[] = [];
  return {
    get: () => value,
    set(next) {
      value = next;
      for (const listener of listeners) listener();
    },
    onChange(listener) {
      listeners = [...listeners, listener];
      return () => {
        listeners = listeners.filter((each) => each !== listener);
      };
    },
  };
}

/** Shared: an abort without a reason creates an exception with a stack each time. */
const WOKEN = new Error('woken before its time');

/** Sleeps for `delayMs`, or until one of the cells is set. Rejects with the reason of `signal`. */
export async function sleepUnlessChanged(
  clock: Clock,
  delayMs: number,
  cells: readonly Pick<Cell<unknown>, 'onChange'>[],
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const woken = new AbortController();
  const wake = () => woken.abort(WOKEN);
  const stops = cells.map((cell) => cell.onChange(wake));
  signal.addEventListener('abort', wake, { once: true });
  try {
    await clock.sleep(delayMs, woken.signal);
  } catch (error) {
    if (!woken.signal.aborted) throw error;
  } finally {
    for (const stop of stops) stop();
    signal.removeEventListener('abort', wake);
  }
  signal.throwIfAborted();
}

/** Resolves when the cell's value is what is waited for, at once where it is. Rejects with the reason of `signal`. */
export async function untilSet<T>(
  cell: Pick<Cell<T>, 'get' | 'onChange'>,
  isMet: (value: T) => boolean,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  if (isMet(cell.get())) return;
  const met = Promise.withResolvers<void>();
  const stop = cell.onChange(() => {
    if (isMet(cell.get())) met.resolve();
  });
  try {
    await abortable(met.promise, signal);
  } finally {
    stop();
  }
}
