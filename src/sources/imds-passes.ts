import type { Clock } from '../timing/clock.ts';
import type { ImdsPass } from './imds-pass.ts';

export interface ImdsPasses {
  /** The pass in use. One that nears its end still serves while its successor is fetched. */
  current(): Promise<ImdsPass>;
  /** The service refused this pass: the next `current` fetches another. */
  drop(refused: ImdsPass): void;
}

/** Keeps one pass and shares one `fetch` among all who wait for it. @param fetch bounded by a deadline of its own */
export function createImdsPasses(clock: Clock, fetch: () => Promise<ImdsPass>): ImdsPasses {
  let held: ImdsPass | null = null;
  let fetching: Promise<ImdsPass> | null = null;

  const renew = (): Promise<ImdsPass> => {
    fetching ??= fetch().then(
      (pass) => {
        fetching = null;
        held = pass;
        return pass;
      },
      (error: unknown) => {
        fetching = null;
        throw error;
      },
    );
    return fetching;
  };

  return {
    current: async () => {
      const nowMs = clock.monotonicMs();
      if (held === null || nowMs >= held.expiresAtMs) return renew();
      // A failed renewal is no failure yet: the read after this one tries again, and the last one of all will tell.
      if (nowMs >= held.renewAtMs) renew().catch(() => {});
      return held;
    },
    drop: (refused) => {
      // Of several reads refused at once only the first finds its own pass here; the others share its successor.
      if (held === refused) held = null;
    },
  };
}
