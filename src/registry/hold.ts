import {
  type CertainEvent,
  diffEntry,
  type InstanceEvent,
  type RollEvent,
  type UncertainLoss,
} from '../record/events.ts';
import { presenceState, type RollEntry } from '../record/roll.ts';
import type { EventBatch, EventSource } from './event-source.ts';
import { type LossMap, lossMap } from './sharded-map.ts';

/**
 * Holds uncertain losses back, for consumers that act on a `lost`. The stream is that of `source`, but:
 * - an uncertain `lost` is kept until `certain`, and sent right after it;
 * - a node that returns first was never lost for the consumer: it gets only what changed, if anything did;
 * - a snapshot shows such a node as it was while it was present;
 * - the cursor stays before the first loss that is kept, so a consumer that resumes gets it again.
 * After `certain` and after a `synced` the consumer has the roll, with the kept nodes as they were. Beyond
 * `MAX_KEPT_LOSSES` it gives up: a further loss is sent at once, and still marked as uncertain.
 */
export function holdLosses(source: EventSource): EventSource {
  return { events: async (options) => hold(await source.events(options), options.since) };
}

/** More than the nodes of the greatest supported fleet. */
const MAX_KEPT_LOSSES = 50_000;

interface KeptLoss {
  readonly loss: UncertainLoss;
  /** The lost node as it is now. */
  readonly now: RollEntry;
}

/** An immutable value. */
export interface Held {
  readonly kept: LossMap<KeptLoss>;
  /** The revision to resume after so that all kept losses come again; null: only a snapshot has one of them. */
  readonly resumeAfter: string | null;
  /** Inside a snapshot, before its `synced`. */
  readonly inSnapshot: boolean;
}

export const NOTHING_HELD: Held = { kept: lossMap(), resumeAfter: null, inSnapshot: false };
const IN_SNAPSHOT: Held = { ...NOTHING_HELD, inSnapshot: true };

async function* hold(
  batches: AsyncIterable<EventBatch>,
  since: string | null,
): AsyncGenerator<EventBatch, void, undefined> {
  let held = NOTHING_HELD;
  let cursor = since;
  for await (const batch of batches) {
    const step = holdBatch(held, batch);
    held = step.held;
    if (step.batch.events.length > 0 || step.batch.cursor !== cursor) yield step.batch;
    cursor = step.batch.cursor;
  }
}

interface HoldStep {
  readonly held: Held;
  readonly batch: EventBatch;
}

/** The last step of each batch: readers that are equally far share one, and so what they keep and its encoded text. */
const steps = new WeakMap<EventBatch, { readonly from: Held; readonly step: HoldStep }>();

export function holdBatch(from: Held, batch: EventBatch): HoldStep {
  const known = steps.get(batch);
  if (known?.from === from) return known.step;
  let held = from;
  const events: RollEvent[] = [];
  for (const event of batch.events) {
    const next = holdEvent(held, event);
    held = next.held;
    events.push(...next.events);
  }
  const isSame = events.length === batch.events.length && events.every((event, n) => event === batch.events[n]);
  const cursor = heldCursor(held, batch.cursor);
  const out = { events: isSame ? batch.events : events, cursor };
  const step = { held, batch: isSame && cursor === batch.cursor ? batch : out };
  steps.set(batch, { from, step });
  return step;
}

/** Before the first kept loss. */
function heldCursor({ kept, resumeAfter }: Held, cursor: string | null): string | null {
  if (kept.size === 0 || cursor === null) return cursor;
  return resumeAfter === null ? null : earlier(resumeAfter, cursor);
}

function earlier(a: string, b: string): string {
  return BigInt(a) < BigInt(b) ? a : b;
}

interface Passed {
  readonly held: Held;
  readonly events: readonly RollEvent[];
}

function holdEvent(held: Held, event: RollEvent): Passed {
  if (event.kind === 'certain') return release(held, event);
  // Without a snapshot before it the roll is empty.
  if (event.kind === 'synced') return { held: held.inSnapshot ? outside(held) : NOTHING_HELD, events: [event] };
  if (!('instanceId' in event)) return { held, events: [event] };
  // What was kept before a snapshot is in the snapshot.
  const current = event.snapshot && !held.inSnapshot ? IN_SNAPSHOT : held;
  return event.uncertain ? keep(current, event, event.uncertain) : pass(current, event);
}

/** The same kept losses, outside of a snapshot. */
function outside({ kept, resumeAfter }: Held): Held {
  return kept.size === 0 ? NOTHING_HELD : { kept, resumeAfter, inSnapshot: false };
}

function keep(held: Held, event: InstanceEvent, loss: UncertainLoss): Passed {
  const { instanceId, after, revision, snapshot } = event;
  if (after === null || held.kept.size >= MAX_KEPT_LOSSES) return { held, events: [event] };
  const shown = snapshot ? diffEntry(instanceId, null, loss.before, revision, true) : [];
  return { held: withLoss(held, instanceId, { loss, now: after }), events: shown };
}

function withLoss(held: Held, instanceId: string, each: KeptLoss): Held {
  const { after } = each.loss;
  let resumeAfter = after;
  if (held.kept.size > 0 && after !== null) {
    resumeAfter = held.resumeAfter === null ? null : earlier(held.resumeAfter, after);
  }
  return { ...held, kept: held.kept.with(instanceId, each), resumeAfter };
}

function pass(held: Held, event: InstanceEvent): Passed {
  const { instanceId, after, revision } = event;
  const known = held.kept.get(instanceId);
  if (!known) return { held, events: [event] };
  if (after && presenceState(after) === 'lost') {
    return { held: { ...held, kept: held.kept.with(instanceId, { ...known, now: after }) }, events: [] };
  }
  const left = { ...held, kept: held.kept.without(instanceId) };
  return { held: outside(left), events: diffEntry(instanceId, known.loss.before, after, revision) };
}

/** Sends the losses that are certain now, in the order in which they happened. */
function release(held: Held, event: CertainEvent): Passed {
  const due: (readonly [string, KeptLoss])[] = [];
  let left: Held = NOTHING_HELD;
  for (const [instanceId, each] of held.kept) {
    if (BigInt(each.loss.revision) <= BigInt(event.upTo)) due.push([instanceId, each]);
    else left = withLoss(left, instanceId, each);
  }
  due.sort(([idA, a], [idB, b]) => Number(BigInt(a.loss.revision) - BigInt(b.loss.revision)) || (idA < idB ? -1 : 1));
  const lost = due.flatMap(([instanceId, { loss, now }]) => diffEntry(instanceId, loss.before, now, loss.revision));
  return { held: left, events: [event, ...lost] };
}
