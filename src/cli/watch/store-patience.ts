import { describeError } from '../../errors.ts';
import { CompactedError, StoreError } from '../../store/store-error.ts';
import { Backoff } from '../../timing/backoff.ts';
import type { WatchDeps } from './watch-deps.ts';

/** A store that is away is waited for: one line when it went, one when it answers again, however long it takes. */
export interface StorePatience {
  /** Repeats `work` while the store is away. Rejects with what no wait can mend, or with the reason of the signal. */
  whileAway<T>(work: () => Promise<T>): Promise<T>;
  /** The same lines for what somebody else keeps trying. @param error null: the store answers */
  observe(error: unknown): void;
}

const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 5_000;

export function createStorePatience({ clock, random, signal, log }: WatchDeps): StorePatience {
  let away = false;

  function observe(error: unknown) {
    const answers = error === null;
    if (answers === !away) return;
    away = !answers;
    if (answers) log('info', 'note: the store answers again');
    else log('warn', `warning: ${describeError(error)}; trying again until the store answers`);
  }

  return {
    observe,
    async whileAway(work) {
      let failed = false;
      for (let backoff = new Backoff(FIRST_RETRY_MS, MAX_RETRY_MS); ; backoff = backoff.next()) {
        try {
          const result = await work();
          // Only then: what succeeds at once may never have asked the store, which somebody else knows to be away.
          if (failed) observe(null);
          return result;
        } catch (error) {
          signal.throwIfAborted();
          if (!isAway(error)) throw error;
          failed = true;
          observe(error);
        }
        await clock.sleep(backoff.delayMs(random()), signal);
      }
    },
  };
}

/** Also looks at the causes: what wraps a wrong password may itself not know that waiting is in vain. */
function isAway(error: unknown): boolean {
  if (!(error instanceof StoreError)) return false;
  // After a compaction the next try reads a new snapshot.
  if (!error.retryable && !(error instanceof CompactedError)) return false;
  return !(error.cause instanceof StoreError) || isAway(error.cause);
}
