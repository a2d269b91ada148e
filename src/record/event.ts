import type { RollEntry } from './roll.ts';

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
