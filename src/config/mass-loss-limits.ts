/** Losing more than this share of the nodes and at least this many within one TTL is a mass loss. */
export interface MassLossLimits {
  /** From 0 to 1. */
  readonly share: number;
  readonly count: number;
}

export const DEFAULT_MASS_LOSS: MassLossLimits = { share: 0.3, count: 5 };
