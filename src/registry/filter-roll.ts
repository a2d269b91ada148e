import type { HealthStatus } from '../record/record.ts';
import { type PresenceState, presenceState, type RollEntry } from '../record/roll.ts';

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
