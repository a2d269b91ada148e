import { linkSignals } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { type Cell, untilSet } from '../../lib/cell.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Hold, Store } from '../../store/store.ts';
import type { HoldEnd, PublisherState } from './plan.ts';

/** What the watch needs to know of the publisher. */
interface Watched {
  /** null: not registered. */
  readonly hold: Hold | null;
  /** The store answered last. Only then is a broken watch begun anew: heartbeats go first. */
  readonly answering: boolean;
}

export function watchedOf({ phase, hold, trouble }: PublisherState): Watched {
  return { hold: phase === 'held' ? hold : null, answering: trouble.error === null };
}

interface HoldWatch {
  readonly store: Pick<Store, 'untilNotHeld'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly ttlMs: number;
  readonly watched: Cell<Watched>;
  /** Set when the newest registration has ended in the store. */
  readonly ended: Cell<HoldEnd | null>;
}

const REPLACED = new Error('the agent registered again, or its registration ended');

/**
 * Watches the keys of each registration in its turn: what something else removed is back at once, where the next heartbeat
 * would only come after a third of a TTL. Ends by `signal` alone; a watch that fails is begun anew after a growing pause.
 */
export async function watchHolds(options: HoldWatch, signal: AbortSignal): Promise<never> {
  const { store, clock, random, ttlMs, watched, ended } = options;
  let backoff = new Backoff(250, ttlMs);
  for (;;) {
    await untilSet(watched, ({ hold, answering }) => hold !== null && answering, signal);
    const { hold } = watched.get();
    if (hold === null) continue;
    const sinceMs = clock.monotonicMs();
    using replaced = linkSignals(signal);
    const stop = watched.onChange(() => {
      if (watched.get().hold !== hold) replaced.abort(REPLACED);
    });
    try {
      const outcome = await store.untilNotHeld(hold, replaced.signal);
      ended.set({ hold, outcome });
      await untilSet(watched, (now) => now.hold !== hold, signal);
    } catch {
      signal.throwIfAborted();
      if (replaced.signal.aborted) continue;
      if (clock.monotonicMs() - sinceMs >= ttlMs) backoff = backoff.reset();
      await clock.sleep(backoff.delayMs(random()), replaced.signal).catch(() => {});
      backoff = backoff.next();
    } finally {
      stop();
    }
  }
}
