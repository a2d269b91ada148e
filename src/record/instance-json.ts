import type { NodeRecord, Presence } from './record.ts';
import { type PresenceState, presenceState, type RollEntry } from './roll.ts';

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
