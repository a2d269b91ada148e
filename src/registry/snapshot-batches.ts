import { diffEntry } from '../record/diff.ts';
import type { RollEvent, Uncertainty } from '../record/event.ts';
import type { Roll, RollEntry } from '../record/roll.ts';
import type { EventBatch } from './event-source.ts';

/** What is snapshotted. While losses are held back, `cursor` lies behind the roll's revision, or is null. */
export interface Shown {
  readonly roll: Roll;
  readonly uncertainty: Uncertainty | null;
  readonly cursor: string | null;
}

/** Events to a batch: a piece of work that holds up nobody. */
const PIECE = 64;

/**
 * Makes snapshots as batches of events: the entries piece by piece, and a `synced`, before it `uncertain` while that is
 * so. Readers who come at one revision share the same events, so that their text is made once; they are kept no longer
 * than anybody reads them.
 */
export function createSnapshots(): (shown: Shown) => readonly EventBatch[] {
  let entries: WeakRef<readonly RollEntry[]> | null = null;
  let pieces: WeakRef<readonly EventBatch[]> | null = null;
  let revision = '';

  function piecesOf(roll: Roll): readonly EventBatch[] {
    const kept = entries?.deref() === roll.entries && revision === roll.revision ? pieces?.deref() : undefined;
    if (kept) return kept;
    const made = cut(roll);
    entries = new WeakRef(roll.entries);
    pieces = new WeakRef(made);
    revision = roll.revision;
    return made;
  }

  return ({ roll, uncertainty, cursor }) => {
    const last: RollEvent[] = [{ kind: 'synced', revision: roll.revision, entries: roll.entries }];
    if (uncertainty) last.unshift({ kind: 'uncertain', revision: roll.revision, uncertainty });
    return [...piecesOf(roll), { events: last, cursor }];
  };
}

function cut(roll: Roll): readonly EventBatch[] {
  const pieces: EventBatch[] = [];
  for (let from = 0; from < roll.entries.length; from += PIECE) {
    const events = roll.entries
      .slice(from, from + PIECE)
      .flatMap((entry) => diffEntry(entry.record.ec2InstanceId, null, entry, roll.revision, true));
    pieces.push({ events, cursor: null });
  }
  return pieces;
}
