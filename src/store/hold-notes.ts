import type { Hold } from './store.ts';

/** What a store remembers of a hold beside what its owner carries. Lost with the process, at the price of one more read. */
export interface HoldNotes {
  /** Of the record as this hold last saw or wrote it; `"0"`: not known, or there is none. */
  recordRevision: string;
  /** Beats that found the lease. */
  renewals: number;
}

/** Notes by hold, for as long as anybody has the hold. */
export function createHoldNotes(): (hold: Hold) => HoldNotes {
  const notes = new WeakMap<Hold, HoldNotes>();
  return (hold) => {
    const known = notes.get(hold) ?? { recordRevision: '0', renewals: 0 };
    notes.set(hold, known);
    return known;
  };
}
