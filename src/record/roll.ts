import type { HealthStatus, NodeRecord, Presence } from './record.ts';

export const PRESENCE_STATES = ['present', 'departed', 'lost'] as const;
export type PresenceState = (typeof PRESENCE_STATES)[number];

/** One node as the store has it: its last record, and its presence while its agent is there. */
export interface RollEntry {
  readonly record: NodeRecord;
  readonly presence: Presence | null;
}

/** A key in our prefix that is not a readable entry. It is named in a warning and never breaks a list. */
export interface SkippedKey {
  readonly key: string;
  readonly reason: string;
}

/** All entries at one store revision. */
export interface Roll {
  /** A decimal number as text: etcd's are 64 bits wide. */
  readonly revision: string;
  readonly entries: readonly RollEntry[];
  readonly skipped: readonly SkippedKey[];
}

/** A presence key outranks a departure: it says that an agent is there now. */
export function presenceState(entry: RollEntry): PresenceState {
  if (entry.presence) return 'present';
  return entry.record.departure ? 'departed' : 'lost';
}

/** One node as pipelines read it, from HTTP and from `rollcall list -o json` alike. */
export interface InstanceJson extends NodeRecord {
  /** All but `state` are null while the node is not present. */
  readonly presence: { readonly state: PresenceState } & { readonly [K in keyof Presence]: Presence[K] | null };
}

/** The record's own fields, as ECS's DescribeContainerInstances has them, and the presence beside them. */
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

/** A value that is not known meets no criterion but null. */
export function filterRoll(entries: readonly RollEntry[], filter: RollFilter): readonly RollEntry[] {
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
 * Why no node of the roll can be in one of these clusters; null: nothing speaks against them. Records have a cluster's
 * name, as ecs-agent tells it, and who filters by an ARN would take the silence for an empty cluster.
 */
export function refuseCluster(names: Iterable<string>): string | null {
  for (const name of names) {
    if (name.startsWith('arn:')) {
      return `cluster ${name.slice(0, 400)}: the roll has clusters by name, which is what stands behind the ARN's "/"`;
    }
  }
  return null;
}
