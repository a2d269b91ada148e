import type { Change, WatchBatch } from '../../src/store/read-roll.ts';
import type { Store } from '../../src/store/store.ts';

/** A watch that is read as fast as it comes. */
export interface Follower {
  /** All batches so far, with the empty ones. */
  readonly batches: readonly WatchBatch[];
  withChanges(): WatchBatch[];
  changes(): Change[];
  /** What the watch ended with: the error it threw. */
  readonly ended: Promise<unknown>;
  /** The same; null while it goes on. */
  readonly error: () => unknown;
  /** Aborts the watch and answers what it ended with. */
  stop(reason?: Error): Promise<unknown>;
}

export function follow(store: Store, revision: string): Follower {
  const controller = new AbortController();
  const batches: WatchBatch[] = [];
  const read = async (): Promise<unknown> => {
    try {
      for await (const batch of store.watch(revision, controller.signal)) batches.push(batch);
      return 'a watch ended without an error';
    } catch (error) {
      return error;
    }
  };
  let error: unknown = null;
  const ended = read().then((outcome) => {
    error = outcome;
    return outcome;
  });
  const withChanges = () => batches.filter((batch) => batch.changes.length > 0);
  return {
    batches,
    withChanges,
    changes: () => withChanges().flatMap((batch) => batch.changes),
    ended,
    error: () => error,
    stop: (reason = new Error('the test is over')) => {
      controller.abort(reason);
      return ended;
    },
  };
}
