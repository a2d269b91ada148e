import { type AuditEvent, diffEntry, type EntryChange, lostPresence, type RollEvent } from '../record/events.ts';
import type { Roll, RollEntry } from '../record/roll.ts';
import type { RevisionEvents } from './event-log.ts';
import type { Telling } from './loss-verdict.ts';

/** Changes that wait for the verdict about a loss: one revision's, or the differences that a new snapshot brings. */
export interface Waiting {
  readonly revision: string;
  readonly changes: readonly EntryChange[];
  /** Of the continuous audit: they wait with the changes, so that the log stays in order. */
  readonly audit: readonly AuditEvent[];
  readonly isSnapshot: boolean;
}

/**
 * The events of the changes, as the log gets them.
 * @param revision of the verdict's own events when nothing waits
 */
export function logBatches(items: readonly Waiting[], telling: Telling, revision: string): readonly RevisionEvents[] {
  const { opening, closing } = telling;
  const batches: { revision: string; events: RollEvent[] }[] = items.map((item) => ({
    revision: item.revision,
    events: item.isSnapshot ? [] : [...changeEvents(item, telling), ...item.audit],
  }));
  const first = batches[0] ?? { revision, events: [] };
  if (batches.length === 0) batches.push(first);
  // `uncertain` comes before the first loss, in the same batch: a cursor between them would skip the losses.
  first.events.unshift(...opening.map((event) => ({ ...event, revision: first.revision })));
  batches.at(-1)?.events.push(...closing);
  return batches;
}

function changeEvents({ revision, changes }: Waiting, { verdict, losses }: Telling): RollEvent[] {
  return changes.flatMap((change) => {
    const { instanceId, before, after } = change;
    const events = diffEntry(instanceId, before, after, revision);
    const wasPresent = lostPresence(change);
    const open = losses.get(instanceId);
    const isOpen = open?.revision === revision;
    if (!wasPresent || (verdict === 'certain' && isOpen)) return events;
    // A loss that the verdict is not about was taken back while it waited. It is no reason to act either.
    const resumeAfter = String(BigInt(revision) - 1n);
    const loss = isOpen ? open : { before: wasPresent, revision, after: resumeAfter, fate: { decided: null } };
    return events.map((event) => (event.kind === 'lost' ? { ...event, uncertain: loss } : event));
  });
}

/** The roll before these changes. */
export function undo(roll: Roll, items: readonly Waiting[], revision: string): Roll {
  const entries = new Map(roll.entries.map((entry) => [entry.record.ec2InstanceId, entry]));
  for (const { changes } of items.toReversed()) {
    for (const { instanceId, before } of changes) {
      if (before) entries.set(instanceId, before);
      else entries.delete(instanceId);
    }
  }
  const byId = (a: RollEntry, b: RollEntry) => (a.record.ec2InstanceId < b.record.ec2InstanceId ? -1 : 1);
  return { ...roll, revision, entries: [...entries.values()].sort(byId) };
}
