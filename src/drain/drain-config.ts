export const DRAIN_CAUSES = ['interruption', 'critical'] as const;
export type DrainCause = (typeof DRAIN_CAUSES)[number];

export interface DrainConfig {
  /** At least one. */
  readonly on: readonly DrainCause[];
  /** How long a node has to be critical to be drained, and not critical to be active again. */
  readonly criticalAfterMs: number;
  /** Of the present nodes of the cluster, 0 to 100; one node may drain always. */
  readonly maxSharePercent: number;
}
