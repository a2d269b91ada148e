import {
  type AuditEvent,
  auditEvents,
  diffEntry,
  type EntryChange,
  lostPresence,
  type RollEvent,
  type UncertainLoss,
} from '../record/events.ts';
import type { NodeRecord, Presence } from '../record/record.ts';
import { presenceState, type Roll, type RollEntry } from '../record/roll.ts';
import type { WatchBatch } from '../store/read-roll.ts';
import type { EventBatch } from './event-source.ts';
import type { PastLoss } from './loss-verdict.ts';
import { isMassLoss, type MassLossLimits } from './mass-loss.ts';
import { createView } from './roll-view.ts';

/**
 * The roll before `batches`: undoes them, since each change has the value that it replaced.
 * @param revision the one before the first batch @param batches all that led to `roll`, in order
 */
export function undoChanges(roll: Roll, batches: readonly WatchBatch[], revision: string): Roll {
  const nodes = new Map<string, { record: NodeRecord | null; presence: Presence | null }>(
    roll.entries.map((entry) => [entry.record.ec2InstanceId, entry]),
  );
  for (const { changes } of batches.toReversed()) {
    for (const change of changes) {
      if (change.kind !== 'record' && change.kind !== 'presence') continue;
      const node = nodes.get(change.instanceId) ?? { record: null, presence: null };
      nodes.set(change.instanceId, { ...node, [change.kind]: change.previous });
    }
  }
  const entries = [...nodes.values()].filter((node): node is RollEntry => node.record !== null);
  entries.sort((a, b) => (a.record.ec2InstanceId < b.record.ec2InstanceId ? -1 : 1));
  return { revision, entries, skipped: [] };
}

export interface PastBatch extends EventBatch {
  readonly revision: string;
}

interface Replay {
  /** One for each revision that has events. */
  readonly batches: readonly PastBatch[];
  /** The losses of a mass loss that is not over in this past. */
  readonly open: readonly PastLoss[];
}

interface ReplayOptions {
  /** null: no loss is uncertain. */
  readonly limits: MassLossLimits | null;
  /** Losses that are uncertain now. */
  readonly openLosses: ReadonlyMap<string, UncertainLoss>;
  readonly wallMs: number;
}

interface PastStep {
  readonly revision: string;
  readonly changes: readonly EntryChange[];
  readonly audit: readonly AuditEvent[];
  readonly present: number;
}

/**
 * The events of `batches`, with the losses of a mass loss marked as uncertain. A replay does not know when it was: nodes that
 * are lost and have not returned count as lost at once.
 * @param batches all after revision `since` that led to `roll`
 */
export function replayChanges(
  roll: Roll,
  batches: readonly WatchBatch[],
  since: string,
  { limits, openLosses, wallMs }: ReplayOptions,
): Replay {
  const view = createView(undoChanges(roll, batches, since));
  const steps = batches.map((batch): PastStep => {
    const changes = view.apply(batch) ?? [];
    const audit = auditEvents(batch.changes, batch.revision);
    return { revision: batch.revision, changes, audit, present: view.count().present };
  });
  const { spans, open, losses } = massLossSpans(steps, limits, openLosses);
  const beginnings = new Map(spans.map((span) => [span.first, span]));
  let span: MassLossSpan | undefined;
  const events = steps.map(({ revision, changes, audit }, index): RollEvent[] => {
    const begun = beginnings.get(index);
    span = begun ?? span;
    const told = changes.flatMap((change) => {
      const loss = losses.get(change);
      const isUncertain = span !== undefined || loss === openLosses.get(change.instanceId);
      return pastEvents(change, revision, isUncertain ? loss : undefined);
    });
    const ended = span?.last === index ? [pastCertain(revision, span.returned)] : [];
    if (ended.length > 0) span = undefined;
    return [...(begun && limits ? [pastUncertain(revision, begun, limits, wallMs)] : []), ...told, ...audit, ...ended];
  });
  const replayed = steps.map(({ revision }, index) => ({ revision, cursor: revision, events: events[index] ?? [] }));
  return { batches: replayed.filter((batch) => batch.events.length > 0), open };
}

/** From the first of many losses until all these nodes are back, or departed. */
interface MassLossSpan {
  /** Indexes of steps. `last` is null while some node is lost. */
  readonly first: number;
  readonly last: number | null;
  readonly vanished: number;
  readonly nodes: number;
  readonly returned: number;
}

function massLossSpans(
  steps: readonly PastStep[],
  limits: MassLossLimits | null,
  openLosses: ReplayOptions['openLosses'],
) {
  const spans: MassLossSpan[] = [];
  const losses = new Map<EntryChange, UncertainLoss>();
  /** Lost nodes in the order of their losses. */
  const gone = new Map<string, PastLoss & { readonly index: number }>();
  let open = null as MassLossSpan | null;
  for (const [index, { revision, changes, present }] of steps.entries()) {
    for (const change of changes) {
      const { instanceId, after } = change;
      const before = lostPresence(change);
      const lost = gone.get(instanceId);
      if (before) {
        const now = openLosses.get(instanceId);
        const loss = now?.revision === revision ? now : pastLoss(before, revision);
        gone.set(instanceId, { ...loss, instanceId, index });
        losses.set(change, loss);
      } else if (lost && (after === null || presenceState(after) !== 'lost')) {
        gone.delete(instanceId);
        if (lost.fate) lost.fate.decided = 'returned';
        if (open && after?.presence) open = { ...open, returned: open.returned + 1 };
      }
    }
    const first = gone.values().next().value?.index ?? index;
    if (!open && isMassLoss(gone.size, present, limits)) {
      open = { first, last: null, vanished: gone.size, nodes: gone.size + present, returned: 0 };
    }
    if (open && gone.size === 0) {
      spans.push({ ...open, last: index });
      open = null;
    }
  }
  return { spans: open ? [...spans, open] : spans, open: open ? [...gone.values()] : [], losses };
}

function pastLoss(before: RollEntry, revision: string): UncertainLoss {
  return { before, revision, after: String(BigInt(revision) - 1n), fate: { decided: null }, isPast: true };
}

/** @param loss the change is one that is uncertain */
function pastEvents(
  { instanceId, before, after }: EntryChange,
  revision: string,
  loss: UncertainLoss | undefined,
): readonly RollEvent[] {
  const events = diffEntry(instanceId, before, after, revision);
  return loss ? events.map((event) => (event.kind === 'lost' ? { ...event, uncertain: loss } : event)) : events;
}

function pastUncertain(
  revision: string,
  { vanished, nodes }: MassLossSpan,
  { share, count }: MassLossLimits,
  wallMs: number,
): RollEvent {
  const at = new Date(wallMs).toISOString();
  const uncertainty = { vanished, nodes, limitShare: share, limitCount: count, since: at, until: at };
  return { kind: 'uncertain', revision, uncertainty, part: 0 };
}

/** @param lost nodes that are lost now */
export function pastCertain(revision: string, returned: number, lost = 0): RollEvent {
  return { kind: 'certain', revision, upTo: revision, part: 0, returned, lost };
}
