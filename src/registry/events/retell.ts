import { diffEntry } from '../../record/diff.ts';
import type { Roll } from '../../record/roll.ts';
import type { WatchBatch } from '../../store/store.ts';
import type { EventBatch } from '../event-source.ts';
import { createView } from '../view.ts';
import { rewind } from './rewind.ts';

export interface PastBatch extends EventBatch {
  readonly revision: string;
}

/**
 * What happened in `batches`, as events, and nothing held back: whatever a reader was told of it before, it then knows
 * each node as it is in `roll`.
 * @param batches all after revision `since` that led to `roll` @returns one for each in which anything happened
 */
export function retell(roll: Roll, batches: readonly WatchBatch[], since: string): readonly PastBatch[] {
  const view = createView(rewind(roll, batches, since));
  return batches.flatMap((batch) => {
    const { revision } = batch;
    const events = (view.apply(batch) ?? []).flatMap(({ instanceId, before, after }) =>
      diffEntry(instanceId, before, after, revision),
    );
    return events.length > 0 ? [{ events, revision, cursor: revision }] : [];
  });
}
