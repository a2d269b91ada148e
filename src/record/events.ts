import { isDeepStrictEqual as same } from 'node:util';
import { presenceState, type Roll, type RollEntry } from './roll.ts';

/** What can happen to one node. Short forms of the CloudEvents types `rollcall.instance.…`. */
export const INSTANCE_EVENT_KINDS = [
  'registered',
  'updated',
  'health',
  'interruption',
  'lost',
  'recovered',
  'departed',
  'forgotten',
] as const;
export type InstanceEventKind = (typeof INSTANCE_EVENT_KINDS)[number];

/** What can happen to the roll as a whole: `rollcall.roll.…`. */
export const ROLL_EVENT_KINDS = ['synced', 'uncertain', 'certain'] as const;

export const EVENT_KINDS = [...INSTANCE_EVENT_KINDS, ...ROLL_EVENT_KINDS] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/** One thing that happened, or, in a snapshot, that is so. `revision` is the store's, a decimal number as text. */
export type RollEvent = InstanceEvent | SyncedEvent | UncertainEvent | CertainEvent;

/** `before` and `after` differ; applying an event to a roll is to put `after` in the place of the entry. */
export interface InstanceEvent {
  readonly kind: InstanceEventKind;
  readonly revision: string;
  readonly instanceId: string;
  /** null: the reader had no such entry, always so in a snapshot. */
  readonly before: RollEntry | null;
  /** null only in `forgotten`. */
  readonly after: RollEntry | null;
  /** It is part of a snapshot: it says what is so, not what happened. */
  readonly snapshot: boolean;
}

/** A snapshot is complete. Whoever is not among `entries` is gone. */
export interface SyncedEvent {
  readonly kind: 'synced';
  readonly revision: string;
  readonly entries: readonly RollEntry[];
}

/** So many nodes vanished at once that the store or the network may be what failed: their `lost` is held back. */
export interface UncertainEvent {
  readonly kind: 'uncertain';
  readonly revision: string;
  readonly uncertainty: Uncertainty;
  /**
   * 0; one more than in the one before where it goes on from that for nodes that vanished late: the revision need not
   * move in between.
   */
  readonly part: number;
}

/** The uncertainty is over: those who returned were never told as lost, the others are lost now. */
export interface CertainEvent {
  readonly kind: 'certain';
  readonly revision: string;
  /** As in the `uncertain` that it ends. */
  readonly part: number;
  readonly returned: number;
  readonly lost: number;
}

export interface Uncertainty {
  /** Nodes that vanished, or are overdue, out of `nodes` that were present before. */
  readonly vanished: number;
  readonly nodes: number;
  /** The limits that were passed: a share from 0 to 1, and a number of nodes. */
  readonly limitShare: number;
  readonly limitCount: number;
  /** RFC 3339. */
  readonly since: string;
  /** RFC 3339 instant at which those who have not returned are told as lost, unless more vanish. */
  readonly until: string;
}

/** One node's entry before and after; null: not on the roll. */
export interface EntryChange {
  readonly instanceId: string;
  readonly before: RollEntry | null;
  readonly after: RollEntry | null;
}

/** Every entry that is not the same object in both, in the order of ids. They may still be equal by value. */
export function entryChanges(before: Roll, after: Roll): readonly EntryChange[] {
  const old = byId(before);
  const now = byId(after);
  const changes: EntryChange[] = [];
  for (const instanceId of [...new Set([...old.keys(), ...now.keys()])].sort()) {
    const change = { instanceId, before: old.get(instanceId) ?? null, after: now.get(instanceId) ?? null };
    if (change.before !== change.after) changes.push(change);
  }
  return changes;
}

function byId(roll: Roll): ReadonlyMap<string, RollEntry> {
  return new Map(roll.entries.map((entry) => [entry.record.ec2InstanceId, entry]));
}

/** What a node is told as that was not on the roll before. */
const FIRST_KIND = { present: 'registered', departed: 'departed', lost: 'lost' } as const;

/**
 * What happened to one node between two states of its entry (null: not on the roll): nothing when they are equal by
 * value, most often one event, and up to three when a living node changed in several ways at once. All of them carry the
 * same `before` and `after`, so that applying any one of them gives the new state.
 * @param snapshot the events are part of a snapshot
 */
export function diffEntry(
  instanceId: string,
  before: RollEntry | null,
  after: RollEntry | null,
  revision: string,
  snapshot = false,
): InstanceEvent[] {
  return kindsOf(before, after).map((kind) => ({ kind, revision, instanceId, before, after, snapshot }));
}

function kindsOf(before: RollEntry | null, after: RollEntry | null): readonly InstanceEventKind[] {
  if (before === after) return [];
  if (after === null) return ['forgotten'];
  const state = presenceState(after);
  if (before === null) return [FIRST_KIND[state]];
  const was = presenceState(before);
  if (state === 'present') {
    // Whatever its session: who was called lost is told to be back.
    if (was === 'lost') return ['recovered'];
    if (was === 'departed' || before.presence?.session !== after.presence?.session) return ['registered'];
  } else if (state === 'lost') {
    if (was !== 'lost') return ['lost'];
  } else if (was !== 'departed' || !same(before.record.departure, after.record.departure)) {
    return ['departed'];
  }
  return changesOf(before, after);
}

/** What changed in a node that is as present, lost or departed as before. */
function changesOf(before: RollEntry, after: RollEntry): readonly InstanceEventKind[] {
  const kinds: InstanceEventKind[] = [];
  if (!same(rest(before), rest(after))) kinds.push('updated');
  if (!same(before.record.health, after.record.health)) kinds.push('health');
  if (!same(before.record.interruption, after.record.interruption)) kinds.push('interruption');
  return kinds;
}

/** All that has no kind of event of its own. */
function rest({ record, presence }: RollEntry): object {
  return { ...record, health: null, interruption: null, presence };
}
