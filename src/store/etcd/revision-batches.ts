import type { KvBatch } from '../kv.ts';
import type { RevisionEvent } from './watch-answer.ts';

/** Events that may not be all of their revision, and the revisions that are whole. */
interface Regrouped {
  readonly batches: readonly KvBatch[];
  readonly held: readonly RevisionEvent[];
}

/**
 * Groups events by revision. An answer that etcd split (`partial`) may have been cut within its last revision, which
 * is therefore held back until the next part is there.
 * @param held what the last call held back @param events in the order of their revisions
 */
export function regroup(held: readonly RevisionEvent[], events: readonly RevisionEvent[], partial: boolean): Regrouped {
  const groups: RevisionEvent[][] = [];
  for (const event of [...held, ...events]) {
    const group = groups.at(-1);
    if (group?.[0]?.revision === event.revision) group.push(event);
    else groups.push([event]);
  }
  const rest = partial ? (groups.pop() ?? []) : [];
  return { batches: groups.map(toBatch), held: rest };
}

function toBatch(group: readonly RevisionEvent[]): KvBatch {
  return { revision: group[0]?.revision ?? '0', events: group.map(({ event }) => event) };
}
