import type { WatchBatch } from '../store/store.ts';

/**
 * Whether the store says that there is nothing newer, rather than that something happened which is no change of ours: a
 * confirmation repeats the revision of the batch before it.
 */
export function isConfirmation(batch: WatchBatch, lastRevision: string): boolean {
  return batch.changes.length === 0 && BigInt(batch.revision) === BigInt(lastRevision);
}
