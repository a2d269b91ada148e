/** What a node is tested for, in this order; it is passed over at the first that it does not pass. */
export const PLACEMENT_TESTS = [
  'roll',
  'registration',
  'status',
  'connection',
  'health',
  'notice',
  'constraint',
  'definition',
  'room',
] as const;
export type PlacementTest = (typeof PLACEMENT_TESTS)[number];

/** A node that gets no task, and why. Null: neither the roll nor ECS says. */
export interface PassedOver {
  readonly instanceId: string | null;
  readonly containerInstanceArn: string | null;
  readonly privateIpAddress: string | null;
  readonly test: PlacementTest;
  /** One line for a person, with the numbers. */
  readonly reason: string;
}
