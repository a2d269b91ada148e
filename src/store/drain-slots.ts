/**
 * How many nodes of a cluster may drain at once, agreed among all agents through the store. A claim holds a slot from
 * before its node is drained until it is active again.
 *
 * Methods fail as `Store`'s do. A rejected write may or may not have happened; each may be sent again without harm.
 */
export interface DrainSlots {
  /** This node's claim; null: it has none. */
  read(instanceId: string, signal: AbortSignal): Promise<HeldClaim | null>;

  /**
   * Takes a slot if one is free at this moment: there is always one, else floor(share × present nodes of the cluster).
   * Two agents never both get the last one. A node that has a claim gets it back as it is.
   */
  take(request: SlotRequest, signal: AbortSignal): Promise<TakeOutcome>;

  /** Replaces the claim, on the same lease; null when it is no longer as `held` has it. */
  replace(held: HeldClaim, claim: DrainClaim, signal: AbortSignal): Promise<HeldClaim | null>;

  /** Restarts the claim's time; false: it is gone. Writes no revision. */
  renew(held: HeldClaim, signal: AbortSignal): Promise<boolean>;

  /** Does nothing when the claim is no longer as `held` has it. */
  giveBack(held: HeldClaim, signal: AbortSignal): Promise<void>;
}

/**
 * - `claimed`: has a slot; ECS was not asked yet. - `asked`: ECS had the node ACTIVE and is being asked to drain it; if it
 * is DRAINING now, that was rollcall. - `drained`: rollcall had ECS drain it. - `overruled`: somebody made it ACTIVE again;
 * it takes no slot, and only remembers that until the cause is over.
 */
export const CLAIM_PHASES = ['claimed', 'asked', 'drained', 'overruled'] as const;

/** The value of `coordination/v1/drains/<instanceId>`. */
export interface DrainClaim {
  readonly phase: (typeof CLAIM_PHASES)[number];
  /** Of the container instance that is drained. */
  readonly arn: string;
  readonly cluster: string;
  /** One line for a person. */
  readonly reason: string;
  /** RFC 3339. */
  readonly since: string;
  /** The agent process that made the claim. */
  readonly session: string;
}

/** A claim that is in the store. Lease and revision are the store's own: opaque outside of it. */
export interface HeldClaim {
  readonly instanceId: string;
  readonly claim: DrainClaim;
  readonly lease: string;
  readonly revision: string;
}

export interface SlotRequest {
  readonly instanceId: string;
  readonly claim: DrainClaim;
  /** Of the present nodes of the cluster, 0 to 100. */
  readonly maxSharePercent: number;
}

export type TakeOutcome =
  | { readonly kind: 'taken'; readonly held: HeldClaim }
  /**
   * `reason`: one line that says how many are taken, of how many. `keepsDoorMs`: for so long nobody else looks whether a
   * slot became free; who asks again before goes on looking for all, and writes nothing. null: another does.
   */
  | { readonly kind: 'full'; readonly reason: string; readonly keepsDoorMs: number | null }
  /** Another agent is being served; come again. */
  | { readonly kind: 'busy' };
