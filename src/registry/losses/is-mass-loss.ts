import type { MassLossLimits } from '../../config/mass-loss-limits.ts';

/** Whether so many nodes are gone, and so many are left, that it is uncertain whether they are gone. */
export function isMassLoss(gone: number, present: number, { share, count }: MassLossLimits): boolean {
  return gone >= count && gone / Math.max(1, present + gone) > share;
}
