import { isDeepStrictEqual as same } from 'node:util';
import type { KeptDifference } from './difference.ts';
import type { DepartureCause } from './record.ts';
import { presenceState, type Roll, type RollEntry } from './roll.ts';

/** The events of one node. Short forms of the CloudEvents types `rollcall.instance.…`. */
export const INSTANCE_EVENT_KINDS = [
  'registered',
  'restarted',
  'updated',
  'health',
  'interruption',
  'lost',
  'recovered',
  'departed',
  'forgotten',
] as const;
export type InstanceEventKind = (typeof INSTANCE_EVENT_KINDS)[number];

/** The events of the whole roll: `rollcall.roll.…`. */
const ROLL_EVENT_KINDS = ['synced', 'uncertain', 'certain'] as const;

/** The events of the continuous audit: `rollcall.audit.…`. A difference to ECS was found, or is no more. */
export const AUDIT_EVENT_KINDS = ['difference', 'resolved'] as const;

export const EVENT_KINDS = [...INSTANCE_EVENT_KINDS, ...ROLL_EVENT_KINDS, ...AUDIT_EVENT_KINDS] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/** An event: a change, or in a snapshot a state. `revision` is the store's, a decimal number as text. */
export type RollEvent = InstanceEvent | SyncedEvent | UncertainEvent | CertainEvent | AuditEvent;

/** `before` and `after` differ; to apply the event to a roll, replace the entry with `after`. */
export interface InstanceEvent {
  readonly kind: InstanceEventKind;
  readonly revision: string;
  readonly instanceId: string;
  /** null: the reader had no such entry; always null in a snapshot. */
  readonly before: RollEntry | null;
  /** null only in `forgotten`. */
  readonly after: RollEntry | null;
  /** true in a snapshot: the event states what is, not what happened. */
  readonly snapshot: boolean;
  /** Only of a loss that was held back: when this process saw it, ms since the epoch. Absent: when it saw the batch. */
  readonly seenAtMs?: number;
  /** Only in `lost`: the node is one of many that vanished at once, and may return. Then see the next `certain`. */
  readonly uncertain?: UncertainLoss;
}

/** A loss that may be the store's or the network's fault. */
export interface UncertainLoss {
  /** The entry while the node was present last. */
  readonly before: RollEntry;
  /** At which the loss was seen. */
  readonly revision: string;
  /** A reader that resumes after this revision gets the loss again; null: only a snapshot has it. */
  readonly after: string | null;
  /** Shared by all copies of the loss. */
  readonly fate: LossFate;
  /** From a replay: another process may have sent the loss as certain before the node returned. */
  readonly isPast?: true;
}

/** What became of an uncertain loss: known to its process before a reader that is behind has read so far. */
interface LossFate {
  /** `lost`: for certain. `returned`: or departed, or forgotten; a later event says it. null: not known yet. */
  decided: 'lost' | 'returned' | null;
}

export interface AuditEvent {
  readonly kind: (typeof AUDIT_EVENT_KINDS)[number];
  readonly revision: string;
  /** The key of the difference in the store, which names it. */
  readonly key: string;
  /** In `resolved`, as it was last. */
  readonly difference: KeptDifference;
  readonly snapshot: boolean;
}

/**
 * The events of one revision's changes to the differences. One whose reason alone changed is none: it is still the same.
 * @param changes of other things are left out
 */
export function auditEvents(
  changes: readonly (DifferenceChange | { readonly kind: unknown })[],
  revision: string,
): readonly AuditEvent[] {
  return changes.flatMap((change): AuditEvent[] => {
    if (!isDifferenceChange(change)) return [];
    const { key, difference, previous } = change;
    const about = { revision, key, snapshot: false };
    if (difference && !previous) return [{ ...about, kind: 'difference', difference }];
    if (previous && !difference) return [{ ...about, kind: 'resolved', difference: previous }];
    return [];
  });
}

interface DifferenceChange {
  readonly kind: 'difference';
  readonly key: string;
  readonly difference: KeptDifference | null;
  readonly previous: KeptDifference | null;
}

function isDifferenceChange(change: { readonly kind: unknown }): change is DifferenceChange {
  return change.kind === 'difference';
}

/** A snapshot is complete. Nodes that are not in `entries` are gone. */
interface SyncedEvent {
  readonly kind: 'synced';
  readonly revision: string;
  readonly entries: readonly RollEntry[];
}

/** A mass loss: the store or the network may be what failed. Each `lost` until `certain` is marked as uncertain. */
export interface UncertainEvent {
  readonly kind: 'uncertain';
  readonly revision: string;
  readonly uncertainty: Uncertainty;
  /** 0, or one more than that of a `certain` at the same revision, so that their ids differ. */
  readonly part: number;
}

/** The uncertainty is over: nodes that are lost now, by a loss up to revision `upTo`, stay lost. */
export interface CertainEvent {
  readonly kind: 'certain';
  readonly revision: string;
  /** Later losses, less than a TTL old, are still uncertain: another `uncertain` follows at once. */
  readonly upTo: string;
  /** As in the `uncertain` that this event ends. */
  readonly part: number;
  readonly returned: number;
  readonly lost: number;
}

export interface Uncertainty {
  /** How many vanished or are overdue, out of `nodes` that were present before. */
  readonly vanished: number;
  readonly nodes: number;
  /** The limits that were exceeded: a share from 0 to 1, and a number of nodes. */
  readonly limitShare: number;
  readonly limitCount: number;
  /** RFC 3339. */
  readonly since: string;
  /** RFC 3339 instant at which nodes that have not returned count as lost for certain, unless more vanish. */
  readonly until: string;
}

/** One node's entry before and after; null: not on the roll. */
export interface EntryChange {
  readonly instanceId: string;
  readonly before: RollEntry | null;
  readonly after: RollEntry | null;
}

/** The entry with which the node was present, if this change ends its presence without a departure; else null. */
export function lostPresence({ before, after }: EntryChange): RollEntry | null {
  return before?.presence && after && presenceState(after) === 'lost' ? before : null;
}

/** The entries that are not the same object in both, sorted by id. They may still be equal by value. */
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

/** The first event of a node that was not on the roll before. */
const FIRST_KIND = { present: 'registered', departed: 'departed', lost: 'lost' } as const;

/**
 * The events between two states of one node's entry (null: not on the roll): none when they are equal by value, most often
 * one, up to three when a present node changed in several ways at once. All have the same `before` and `after`, so that
 * applying any of them gives the new state.
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
    // Whatever its session: a node that was lost has recovered.
    if (was === 'lost') return ['recovered'];
    if (was === 'departed') return [isRestart(before, after) ? 'restarted' : 'registered'];
    if (before.presence?.session !== after.presence?.session) return ['registered'];
  } else if (state === 'lost') {
    if (was !== 'lost') return ['lost'];
  } else if (was !== 'departed' || !same(before.record.departure, after.record.departure)) {
    return ['departed'];
  }
  return changesOf(before, after);
}

/**
 * How long a node that departed for such a cause may be away to count as restarted. `stopped`: the pause of the unit before
 * it starts the agent again, `RestartSec=5`, and 10 s for the start. `restart`: docker may restart with the agent, or the
 * image be pulled; a start that comes later was not that restart's.
 */
const RESTART_WITHIN_MS: Partial<Record<DepartureCause, number>> = { stopped: 15_000, restart: 120_000 };

/**
 * Whether a departed node is back from a restart. Not every restart can be known beforehand: to a host, fleet's replacement
 * of a unit is a stop, and then a start. Both instants are of the node's clock, so that all readers come to the same.
 */
function isRestart({ record: { departure } }: RollEntry, { record: { registeredAt } }: RollEntry): boolean {
  if (departure === null) return false;
  const awayMs = Date.parse(registeredAt) - Date.parse(departure.at);
  return awayMs >= 0 && awayMs <= (RESTART_WITHIN_MS[departure.cause] ?? -1);
}

/** The events of a node whose presence state has not changed. */
function changesOf(before: RollEntry, after: RollEntry): readonly InstanceEventKind[] {
  const kinds: InstanceEventKind[] = [];
  if (!same(rest(before), rest(after))) kinds.push('updated');
  if (!same(before.record.health, after.record.health)) kinds.push('health');
  if (!same(before.record.interruption, after.record.interruption)) kinds.push('interruption');
  return kinds;
}

/** The fields without an event kind of their own. */
function rest({ record, presence }: RollEntry): object {
  return { ...record, health: null, interruption: null, presence };
}
