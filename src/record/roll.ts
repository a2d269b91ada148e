import type { HealthStatus, NodeRecord, Presence } from './record.ts';
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

/** Each criterion is a set of accepted values; null accepts everything. An entry must meet all of them. */
export interface RollFilter {
  readonly cluster: ReadonlySet<string> | null;
  readonly health: ReadonlySet<HealthStatus> | null;
  readonly presence: ReadonlySet<PresenceState> | null;
  readonly az: ReadonlySet<string> | null;
}

/** An unknown value meets only the criterion null. */
export function filterRoll<R extends NodeSummary>(
  entries: readonly RollEntry<R>[],
  filter: RollFilter,
): readonly RollEntry<R>[] {
  if (Object.values(filter).every((accepted) => accepted === null)) return entries;
  return entries.filter(
    (entry) =>
      accepts(filter.presence, presenceState(entry)) &&
      accepts(filter.cluster, entry.record.cluster) &&
      accepts(filter.health, entry.record.health.status) &&
      accepts(filter.az, entry.record.availabilityZone),
  );
}

function accepts<T extends string>(accepted: ReadonlySet<T> | null, value: T | null): boolean {
  return accepted === null || (value !== null && accepted.has(value));
}

/**
 * Why no node can be in one of these clusters; null: no objection. Records have the cluster's name; an empty answer to a
 * filter with an ARN would look like an empty cluster.
 */
export function refuseCluster(names: Iterable<string>): string | null {
  for (const name of names) {
    if (name.startsWith('arn:')) {
      return `cluster ${name.slice(0, 400)}: the roll has cluster names, not ARNs; use the part after the ARN's "/"`;
    }
  }
  return null;
}
