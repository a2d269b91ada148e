import { diffEntry } from '../../record/diff.ts';
import { presenceState, type Roll, type RollEntry } from '../../record/roll.ts';
import type { WatchBatch } from '../../store/store.ts';
import type { EventBatch } from '../event-source.ts';
import { createView } from '../view.ts';
import { rewind } from './rewind.ts';

/** A roll, and what of it is not told yet. */
export interface ToldRoll {
  /** The roll as the store has it. */
  readonly roll: Roll;
  /** Nodes that are lost in it, with the entries they are shown with while that is held back. */
  readonly held: ReadonlyMap<string, RollEntry>;
  /** As in `GuardState`. */
  readonly heldAfter: string | null;
}

export interface PastBatch extends EventBatch {
  readonly revision: string;
}

/** Whoever was told everything up to `revision`, but for what is held back, may resume after this; null: after nothing. */
export function cursorAt(revision: string, heldAfter: string | null): string | null {
  if (heldAfter === null || BigInt(revision) <= BigInt(heldAfter)) return revision;
  // Held since a snapshot: nobody knows at which revision it happened.
  return heldAfter === '0' ? null : heldAfter;
}

/**
 * What happened in `batches`, as events: of each node exactly what a reader was told who followed them.
 * @param batches all after revision `since` that led to `now` @returns one for each in which anything happened
 */
export function retell(now: ToldRoll, batches: readonly WatchBatch[], since: string): readonly PastBatch[] {
  const { held, heldAfter } = now;
  const view = createView(rewind(now.roll, batches, since));
  /** Nodes whose last loss is held back, each as the reader was shown it last: it may have been lost before, and back. */
  const shown = new Map<string, RollEntry | null>();
  const isHeld = (instanceId: string, entry: RollEntry | null, revision: string) =>
    held.has(instanceId) &&
    heldAfter !== null &&
    BigInt(revision) > BigInt(heldAfter) &&
    entry !== null &&
    presenceState(entry) === 'lost';
  const past: PastBatch[] = [];
  for (const batch of batches) {
    const { revision } = batch;
    const events = (view.apply(batch) ?? []).flatMap((change) => {
      const { instanceId } = change;
      const before = shown.get(instanceId) ?? change.before;
      const after = before?.presence && isHeld(instanceId, change.after, revision) ? before : change.after;
      if (held.has(instanceId)) shown.set(instanceId, after);
      return diffEntry(instanceId, before, after, revision);
    });
    if (events.length > 0) past.push({ events, revision, cursor: cursorAt(revision, heldAfter) });
  }
  return past;
}
