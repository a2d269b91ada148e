import type { NodeRecord, Presence } from './record.ts';

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
