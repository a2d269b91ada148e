import type { Interruption } from '../record/record.ts';

/** What EC2 can announce to a node, the most urgent first: the order decides which one the record tells. */
export const INTERRUPTION_KINDS = [
  'spot-interruption',
  'asg-termination',
  'maintenance',
  'rebalance-recommendation',
] as const;
export type InterruptionKind = (typeof INTERRUPTION_KINDS)[number];

/** The newest known notice of each kind; null: there is none. */
export type Notices = Readonly<Record<InterruptionKind, Interruption | null>>;

export const NO_NOTICES: Notices = {
  'spot-interruption': null,
  'asg-termination': null,
  maintenance: null,
  'rebalance-recommendation': null,
};

/** The one a record has room for. */
export function mostUrgent(notices: Notices): Interruption | null {
  for (const kind of INTERRUPTION_KINDS) if (notices[kind]) return notices[kind];
  return null;
}
