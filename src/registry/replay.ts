import {
  auditEvents,
  diffEntry,
  type EntryChange,
  lostPresence,
  type RollEvent,
  type UncertainLoss,
} from '../record/events.ts';
import { presenceState, type Roll, type RollEntry } from '../record/roll.ts';
import type { Change, WatchBatch } from '../store/read-roll.ts';
import type { EventBatch } from './event-source.ts';
import type { PastLoss } from './loss-verdict.ts';
import { isMassLoss, type MassLossLimits } from './mass-loss.ts';
import { createView, type View } from './roll-view.ts';

/**
 * The roll before `batches`: undoes them, since each change has the value that it replaced.
 * @param revision the one before the first batch @param batches all that led to `roll`, in order
 */
export function viewBefore(roll: Roll, batches: readonly WatchBatch[], revision: string): View {
  const view = createView({ ...roll, skipped: [] });
  for (const { changes } of batches.toReversed()) view.apply({ revision, changes: changes.flatMap(undone) });
  return view;
}

function undone(change: Change): readonly Change[] {
  if (change.kind === 'record') return [{ ...change, record: change.previous, previous: change.record }];
  if (change.kind === 'presence') return [{ ...change, presence: change.previous, previous: change.presence }];
  return [];
}

export interface PastBatch extends EventBatch {
  readonly revision: string;
}

interface Replay {
  /** One for each revision that has events. */
  readonly batches: readonly PastBatch[];
  /** Losses of a mass loss are among them that are uncertain now. */
  readonly isUncertain: boolean;
}

interface ReplayOptions {
  /** null: no loss is uncertain. */
  readonly limits: MassLossLimits | null;
  /** As in `LiveRoll`. */
  readonly takePast: (losses: readonly PastLoss[]) => boolean;
  readonly openLosses: () => ReadonlyMap<string, UncertainLoss>;
}

/** The latest loss of a node, until it is lost no more. */
interface Gone {
  readonly loss: PastLoss;
  isMassLoss: boolean;
}

/**
 * The events of `batches`. What became of a loss is known where its node is back in them: of a mass loss it is marked as
 * uncertain, so that no consumer acts on it. So is a loss that is uncertain now; any other is certain.
 * @param batches all after revision `since` that led to `roll`
 */
export function replayChanges(
  roll: Roll,
  batches: readonly WatchBatch[],
  since: string,
  { limits, takePast, openLosses }: ReplayOptions,
): Replay {
  const view = viewBefore(roll, batches, since);
  const losses = new Map<EntryChange, Gone>();
  const gone = new Map<string, Gone>();
  let isMass = false;
  const steps = batches.map((batch) => {
    const { revision } = batch;
    const changes = view.apply(batch) ?? [];
    for (const change of changes) {
      const { instanceId, after } = change;
      const before = lostPresence(change);
      if (before) {
        const each = { loss: pastLoss(instanceId, before, revision), isMassLoss: isMass };
        gone.set(instanceId, each);
        losses.set(change, each);
      } else if (after === null || presenceState(after) !== 'lost') {
        const known = gone.get(instanceId);
        // One that was forgotten has not returned.
        if (known && after !== null) known.loss.fate.decided = 'returned';
        gone.delete(instanceId);
      }
    }
    if (!isMass && isMassLoss(gone.size, view.count().present, limits)) {
      isMass = true;
      for (const each of gone.values()) each.isMassLoss = true;
    }
    // A mass loss lasts until all are back: how long that took is not known.
    isMass &&= gone.size > 0;
    return { revision, changes, audit: auditEvents(batch.changes, revision) };
  });
  const isUncertain = isMass && takePast([...gone.values()].map(({ loss }) => loss));
  const open = openLosses();
  const replayed = steps.map(({ revision, changes, audit }): PastBatch => {
    const told = changes.flatMap((change) => pastEvents(change, revision, losses.get(change), open));
    return { revision, cursor: revision, events: [...told, ...audit], isPast: true };
  });
  return { batches: replayed.filter((batch) => batch.events.length > 0), isUncertain };
}

function pastLoss(instanceId: string, before: RollEntry, revision: string): PastLoss {
  const after = String(BigInt(revision) - 1n);
  return { instanceId, before, revision, after, fate: { decided: null }, isPast: true };
}

function pastEvents(
  { instanceId, before, after }: EntryChange,
  revision: string,
  gone: Gone | undefined,
  open: ReadonlyMap<string, UncertainLoss>,
): readonly RollEvent[] {
  const events = diffEntry(instanceId, before, after, revision);
  const uncertain = gone && uncertainNow(gone, open.get(instanceId));
  return uncertain ? events.map((event) => (event.kind === 'lost' ? { ...event, uncertain } : event)) : events;
}

/** @param open the node's loss that is uncertain now */
function uncertainNow({ loss, isMassLoss }: Gone, open: UncertainLoss | undefined): UncertainLoss | undefined {
  if (loss.fate.decided === 'returned') return isMassLoss ? loss : undefined;
  if (open?.revision === loss.revision) return open;
  // A snapshot brought it, so its revision is not known there.
  return open?.after === null ? { ...loss, fate: open.fate } : undefined;
}
