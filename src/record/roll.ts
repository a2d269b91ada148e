import type { KeptDifference } from './difference.ts';
import type { NodeRecord, Presence } from './record.ts';
import type { NodeSummary } from './summary.ts';

export const PRESENCE_STATES = ['present', 'departed', 'lost'] as const;
export type PresenceState = (typeof PRESENCE_STATES)[number];

/** One node in the store: its last record, or as much of it as was read, and its presence while its agent is registered. */
export interface RollEntry<R extends NodeSummary = NodeRecord> {
  readonly record: R;
  readonly presence: Presence | null;
}

/** A key below the prefix that cannot be read as an entry. A warning names it; it never breaks a list. */
export interface SkippedKey {
  readonly key: string;
  readonly reason: string;
}

/** All entries at one store revision. */
export interface Roll<R extends NodeSummary = NodeRecord> {
  /** A decimal number as text: etcd's are 64 bits wide. */
  readonly revision: string;
  readonly entries: readonly RollEntry<R>[];
  readonly skipped: readonly SkippedKey[];
  /** Differences to ECS that the continuous audit found, by key; absent: none. */
  readonly differences?: ReadonlyMap<string, KeptDifference>;
  /** True: from an agent that cannot read the store at present. Absent: as the store is. */
  readonly stale?: boolean;
  /** From an agent: lines on records that it cannot read whole, which is not in them. */
  readonly notes?: readonly string[];
}

/** A presence counts more than a departure: an agent is registered now. */
export function presenceState(entry: RollEntry<NodeSummary>): PresenceState {
  if (entry.presence) return 'present';
  return entry.record.departure ? 'departed' : 'lost';
}

/** One node as JSON, the same over HTTP and from `rollcall list -o json`. */
export interface InstanceJson extends NodeRecord {
  /** All but `state` are null while the node is not present. */
  readonly presence: { readonly state: PresenceState } & { readonly [K in keyof Presence]: Presence[K] | null };
}

/** The record's fields, named as in ECS's DescribeContainerInstances, and the presence. */
export function instanceJson(entry: RollEntry): InstanceJson {
  return { ...entry.record, presence: presenceJson(entry) };
}

export function presenceJson(entry: RollEntry): InstanceJson['presence'] {
  const { session = null, since = null, ttlSeconds = null } = entry.presence ?? {};
  return { state: presenceState(entry), session, since, ttlSeconds };
}
