import type { NodeRecord } from '../record/record.ts';

/** Maintenance is announced weeks ahead; it concerns its node from this long before it begins. */
export const MAINTENANCE_LEAD_MS = 1_800_000;

/**
 * How long until the announced end concerns the node; 0 or less: it does now; infinite: never, as for a recommendation to
 * rebalance, which takes no node away, and for maintenance at an unknown time. What ends a spot instance or comes from the
 * Auto Scaling group concerns it at once. Pure.
 * @param wallMs on the node's clock; the times of notices are EC2's, so they are compared with EC2's clock, as far as it is known
 */
export function noticeDueInMs(
  { interruption, clockSkewSeconds }: Pick<NodeRecord, 'interruption' | 'clockSkewSeconds'>,
  wallMs: number,
): number {
  if (!interruption || interruption.kind === 'rebalance-recommendation') return Number.POSITIVE_INFINITY;
  if (interruption.kind !== 'maintenance') return 0;
  const ec2Ms = wallMs - (clockSkewSeconds ?? 0) * 1_000;
  const inMs = (interruption.time === null ? Number.NaN : Date.parse(interruption.time)) - ec2Ms - MAINTENANCE_LEAD_MS;
  return Number.isNaN(inMs) ? Number.POSITIVE_INFINITY : inMs;
}
