import { linkSignals } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { type Cell, untilSet } from '../../lib/cell.ts';
import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import type { Hold, NotHeld, Store } from '../../store/store.ts';
import type { HoldEnd, PublisherState } from './publisher-plan.ts';

/** What the watch needs to know of the publisher. */
interface Watched {
  /** null: not registered. */
  readonly hold: Hold | null;
  /** The last heartbeat was answered. Only then is a broken watch begun anew: heartbeats go first. */
  readonly answering: boolean;
}

export function watchedOf({ phase, hold, trouble }: PublisherState): Watched {
  // A write that is refused, as by a full store, says nothing against watching.
  return { hold: phase === 'held' ? hold : null, answering: trouble.error === null || trouble.action !== 'renew' };
}

interface HoldWatch {
  readonly store: Pick<Store, 'notHeld' | 'untilNotHeld'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly ttlMs: number;
  readonly watched: Cell<Watched>;
  /** Set when the newest registration has ended in the store. */
  readonly ended: Cell<HoldEnd | null>;
}

/** Between two reads of the keys: what passes a watch that fell silent is missed for so long. A thirtieth of the heartbeats. */
const LOOK_EVERY_TTLS = 10;

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
      const outcome = await firstOf(replaced.signal, [
        (watchSignal) => store.untilNotHeld(hold, watchSignal),
        (lookSignal) => lookUntilNotHeld(options, hold, lookSignal),
      ]);
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

/**
 * Reads the keys from time to time: a watch can fall silent without an error, behind a proxy that keeps events back or on
 * a member that serves no more than pings. Heartbeats do not show it, since the lease may outlive its key.
 */
async function lookUntilNotHeld(
  { store, clock, random, ttlMs }: HoldWatch,
  hold: Hold,
  signal: AbortSignal,
): Promise<NotHeld> {
  for (;;) {
    await clock.sleep(ttlMs * LOOK_EVERY_TTLS * (1 - random() / 10), signal);
    // Without an answer nothing is known; the heartbeats tell of a store that is away.
    const ended = await withDeadline(clock, ttlMs / 3, signal, 'read the registration', (within) =>
      store.notHeld(hold, within),
    ).catch(() => null);
    if (ended !== null) return ended;
  }
}

/** The first that ends, well or not; the others are aborted. */
async function firstOf<T>(signal: AbortSignal, works: readonly ((signal: AbortSignal) => Promise<T>)[]): Promise<T> {
  using over = linkSignals(signal);
  try {
    return await Promise.race(works.map((work) => work(over.signal)));
  } finally {
    over.abort(REPLACED);
  }
}
