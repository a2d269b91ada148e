/** In ECS and not on the roll; on the roll and not in ECS; in both, and the agent disconnected or an identity differing. */
export const DIFFERENCE_KINDS = ['ghost', 'stray', 'disconnected', 'mismatch'] as const;
export type DifferenceKind = (typeof DIFFERENCE_KINDS)[number];

/** One node on which the store and ECS differ. */
export interface Difference {
  readonly kind: DifferenceKind;
  /** Null where ECS does not say which instance it is. */
  readonly instanceId: string | null;
  readonly cluster: string | null;
  /** As ECS has it; of a stray, as its record has it. */
  readonly containerInstanceArn: string | null;
  readonly privateIpAddress: string | null;
  /** Since when it is known to differ (RFC 3339); null: nobody knows. */
  readonly since: string | null;
  /** One line for a person, with what the last record said. */
  readonly reason: string;
}

/** What an audit found. Also the JSON of `rollcall audit -o json`, of `/v1/audit`, and in the store. */
export interface AuditReport {
  readonly schemaVersion: 1;
  /** Names of the clusters that were compared. */
  readonly clusters: readonly string[];
  /** RFC 3339. */
  readonly startedAt: string;
  readonly finishedAt: string;
  /** The store's, of the roll that was compared last. */
  readonly revision: string;
  readonly agreeing: number;
  readonly differences: readonly Difference[];
}
