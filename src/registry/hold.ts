import { diffEntry, type InstanceEvent, type RollEvent, type UncertainLoss } from '../record/events.ts';
import { presenceState, type RollEntry } from '../record/roll.ts';
import { type EventBatch, type EventSource, unmarked } from './event-source.ts';
import { type LossMap, lossMap } from './sharded-map.ts';

/**
 * Holds uncertain losses back, for consumers that act on a `lost`. The stream is that of `source`, but:
 * - an uncertain `lost` is kept until `certain`, and sent right after it;
 * - a node that returns first was never lost for the consumer: it gets only what changed, if anything did, or the
 *   `recovered` when the consumer was away meanwhile, because it may have been sent the loss before;
 * - a snapshot shows such a node as it was while it was present;
 * - the cursor stays before the first loss that is kept, so a consumer that resumes gets it again;
 * - a consumer that is behind gets a loss before its `certain`, and its cursor moves, as soon as the loss is decided.
 *   Otherwise a slow consumer that is started again and again would begin at the same loss forever.
 * After `certain` and after a `synced` the consumer has the roll, with the kept nodes as they were. Beyond
 * `MAX_KEPT_LOSSES` it gives up: a further loss is sent at once, and still marked as uncertain.
 */
export function holdLosses(source: EventSource): EventSource {
  return {
    async events(options) {
      const batches = await source.events(options);
      const hold = createHold();
      return (async function* () {
        for await (const batch of batches) {
          const held = hold(batch);
          if (held) yield held;
        }
      })();
    },
  };
}

/** The same for one reader, batch by batch. @returns a function of each batch; null: there is nothing to send */
export function createHold(): (batch: EventBatch) => EventBatch | null {
  let held = NOTHING_HELD;
  let cursor: string | null | undefined;
  /** The consumer may have been sent losses up to this revision before, and ended before its cursor moved. */
  let pastUpTo = 0n;
  return (batch) => {
    // It has all nodes anew, and the revisions of a restored store are lower.
    if (batch.events.at(-1)?.kind === 'synced') pastUpTo = 0n;
    if (batch.isPast && batch.cursor !== null) pastUpTo = BigInt(batch.cursor);
    const step = holdBatch(held, unmarked(batch));
    const out = step.returned && step.returned.oldestLoss <= pastUpTo ? step.returned.batch : step.batch;
    const isNew = out.events.length > 0 || out.cursor !== cursor;
    held = step.held;
    cursor = out.cursor;
    return isNew ? out : null;
  };
}

/** More than the nodes of the greatest supported fleet. */
const MAX_KEPT_LOSSES = 50_000;

interface KeptLoss {
  readonly loss: UncertainLoss;
  /** The lost node as it is now. */
  readonly now: RollEntry;
  /** That of the batch in which it came, so that the loss has the same time as for those who got it then. */
  readonly seenAtMs: number | undefined;
}

/** An immutable value. */
export interface Held {
  readonly kept: LossMap<KeptLoss>;
  /**
   * The revision to resume after so that all kept losses come again whose fate is not known, or an earlier one. null: only
   * a snapshot has one of them; undefined: there are none.
   */
  readonly resumeAfter: string | null | undefined;
  /** Inside a snapshot, before its `synced`. */
  readonly inSnapshot: boolean;
  /** The revision at which the kept losses were last checked for losses that are decided. */
  readonly decidedAsOf: string;
}

export const NOTHING_HELD: Held = { kept: lossMap(), resumeAfter: undefined, inSnapshot: false, decidedAsOf: '0' };
const IN_SNAPSHOT: Held = { ...NOTHING_HELD, inSnapshot: true };

interface HoldStep {
  readonly held: Held;
  readonly batch: EventBatch;
  /** The batch for a consumer that may have been sent the loss of a node that returns in it; null: none does. */
  readonly returned: { readonly oldestLoss: bigint; readonly batch: EventBatch } | null;
}

/** The last step of each batch: readers that are equally far share one, and so what they keep and its encoded text. */
const steps = new WeakMap<EventBatch, { readonly from: Held; readonly step: HoldStep }>();

export function holdBatch(from: Held, batch: EventBatch): HoldStep {
  const known = steps.get(batch);
  if (known?.from === from) return known.step;
  const decided = releaseDecided(from, batch);
  const events = [...decided.events];
  /** With all events of the nodes that return. */
  const whole = [...decided.events];
  let oldestLoss: bigint | null = null;
  let { held } = decided;
  for (const event of batch.events) {
    const next = holdEvent(held, event, batch.atMs);
    held = next.held;
    events.push(...next.events);
    whole.push(...(next.returned === undefined ? next.events : [event]));
    if (next.returned !== undefined && (oldestLoss === null || next.returned < oldestLoss)) oldestLoss = next.returned;
  }
  const cursor = heldCursor(held, batch.cursor);
  const returned = oldestLoss === null ? null : { oldestLoss, batch: batchOf(whole, cursor, batch) };
  const step = { held, batch: batchOf(events, cursor, batch), returned };
  steps.set(batch, { from, step });
  return step;
}

/** `batch` itself where nothing in it is held: what is made of it is shared. */
function batchOf(events: readonly RollEvent[], cursor: string | null, batch: EventBatch): EventBatch {
  const isSame = events.length === batch.events.length && events.every((event, n) => event === batch.events[n]);
  if (isSame && cursor === batch.cursor) return batch;
  const { atMs } = batch;
  return { events: isSame ? batch.events : events, cursor, ...(atMs === undefined ? {} : { atMs }) };
}

/** Kept losses for each revision since the last check: to check each of 10,000 for each batch would be quadratic. */
const CHECK_PACE = 64n;

function releaseDecided(held: Held, { events, cursor }: EventBatch): Passed {
  const { kept, inSnapshot, decidedAsOf } = held;
  if (kept.size === 0 || inSnapshot || cursor === null) return { held, events: [] };
  if ((BigInt(cursor) - BigInt(decidedAsOf)) * CHECK_PACE < BigInt(kept.size)) return { held, events: [] };
  // Readers that are up to date get losses after their `certain`, so the others do if it comes now.
  if (events.some(({ kind }) => kind === 'certain')) return { held, events: [] };
  const { held: left, events: lost } = release(held, ({ fate }) => fate.decided === 'lost');
  return { held: left.kept.size === 0 ? left : { ...left, decidedAsOf: cursor }, events: lost };
}

/** Before the first kept loss. */
function heldCursor({ resumeAfter }: Held, cursor: string | null): string | null {
  return cursor === null || resumeAfter === undefined ? cursor : earlier(resumeAfter, cursor);
}

function earlier(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return null;
  return BigInt(a) < BigInt(b) ? a : b;
}

interface Passed {
  readonly held: Held;
  readonly events: readonly RollEvent[];
  /** The revision of the kept loss that the event ends, where `events` is not simply the event. */
  readonly returned?: bigint;
}

function holdEvent(held: Held, event: RollEvent, atMs: number | undefined): Passed {
  if (event.kind === 'certain') {
    const { held: left, events } = release(held, (loss) => isCertain(loss, BigInt(event.upTo)));
    return { held: left, events: [event, ...events] };
  }
  // Without a snapshot before it the roll is empty.
  if (event.kind === 'synced') {
    if (!held.inSnapshot) return { held: NOTHING_HELD, events: [event] };
    return { held: outside(held), events: [asBefore(event, held)] };
  }
  if (!('instanceId' in event)) return { held, events: [event] };
  // What was kept before a snapshot is in the snapshot.
  const current = event.snapshot && !held.inSnapshot ? IN_SNAPSHOT : held;
  return event.uncertain ? keep(current, event, event.uncertain, atMs) : pass(current, event);
}

/** With the kept nodes as they were: a filter by presence must not take them for gone. */
function asBefore(event: Extract<RollEvent, { kind: 'synced' }>, { kept }: Held): RollEvent {
  if (kept.size === 0) return event;
  return {
    ...event,
    entries: event.entries.map((entry) => kept.get(entry.record.ec2InstanceId)?.loss.before ?? entry),
  };
}

/** The same kept losses, outside of a snapshot. */
function outside(held: Held): Held {
  return held.kept.size === 0 ? NOTHING_HELD : { ...held, inSnapshot: false };
}

function keep(held: Held, event: InstanceEvent, loss: UncertainLoss, seenAtMs: number | undefined): Passed {
  const { instanceId, after, revision, snapshot } = event;
  if (after === null || held.kept.size >= MAX_KEPT_LOSSES) return { held, events: [event] };
  const shown = snapshot ? diffEntry(instanceId, null, loss.before, revision, true) : [];
  return { held: withLoss(held, instanceId, { loss, now: after, seenAtMs }), events: shown };
}

function withLoss(held: Held, instanceId: string, each: KeptLoss): Held {
  return { ...held, kept: held.kept.with(instanceId, each), resumeAfter: before(held.resumeAfter, each.loss) };
}

/** `resumeAfter`, or the revision before `loss` if that is earlier. */
function before(resumeAfter: Held['resumeAfter'], { after, fate }: UncertainLoss): Held['resumeAfter'] {
  if (fate.decided === 'returned') return resumeAfter;
  return resumeAfter === undefined ? after : earlier(resumeAfter, after);
}

function pass(held: Held, event: InstanceEvent): Passed {
  const { instanceId, after, revision } = event;
  const known = held.kept.get(instanceId);
  if (!known) return { held, events: [event] };
  if (after && presenceState(after) === 'lost') {
    return { held: { ...held, kept: held.kept.with(instanceId, { ...known, now: after }) }, events: [] };
  }
  const left = { ...held, kept: held.kept.without(instanceId) };
  if (known.loss.isPast) return { held: outside(left), events: [event] };
  const events = diffEntry(instanceId, known.loss.before, after, revision);
  return { held: outside(left), events, returned: BigInt(known.loss.revision) };
}

function isCertain({ revision, fate }: UncertainLoss, upTo: bigint): boolean {
  return fate.decided === 'lost' || (fate.decided !== 'returned' && BigInt(revision) <= upTo);
}

/** Sends the losses that are due, in the order in which they happened. */
function release(held: Held, isDue: (loss: UncertainLoss) => boolean): Passed {
  const due: (readonly [string, KeptLoss])[] = [];
  let resumeAfter: Held['resumeAfter'];
  for (const [instanceId, each] of held.kept) {
    if (isDue(each.loss)) due.push([instanceId, each]);
    else resumeAfter = before(resumeAfter, each.loss);
  }
  let kept = due.length === held.kept.size ? NOTHING_HELD.kept : held.kept;
  if (kept.size > 0) for (const [instanceId] of due) kept = kept.without(instanceId);
  due.sort(([idA, a], [idB, b]) => Number(BigInt(a.loss.revision) - BigInt(b.loss.revision)) || (idA < idB ? -1 : 1));
  const events = due.flatMap(([instanceId, { loss, now, seenAtMs }]) =>
    diffEntry(instanceId, loss.before, now, loss.revision).map((event) =>
      seenAtMs === undefined ? event : { ...event, seenAtMs },
    ),
  );
  return { held: kept.size === 0 ? NOTHING_HELD : { ...held, kept, resumeAfter }, events };
}
