/** Losing more than this share of the nodes, and at least this many, is a mass loss. */
export interface MassLossLimits {
  /** From 0 to 1. */
  readonly share: number;
  /** At least 1. */
  readonly count: number;
}

export const DEFAULT_MASS_LOSS: MassLossLimits = { share: 0.3, count: 5 };

/** Larger than any rounding of the division, smaller than what one node more makes of a fleet of a million. */
const ROUNDING = 1e-12;

/**
 * Whether so many nodes vanished that the store or the network may be what failed, and not the nodes: at least
 * `limits.count`, and more than `limits.share` of those that were there. Exactly the share is not more than the share.
 * @param vanished nodes that were present and are lost, or are about to be; departed ones are not among them
 * @param present nodes that are present and are not counted as vanished
 * @param limits null: never
 */
export function isMassLoss(vanished: number, present: number, limits: MassLossLimits | null): boolean {
  if (limits === null || vanished < limits.count) return false;
  return vanished / (present + vanished) > limits.share + ROUNDING;
}
