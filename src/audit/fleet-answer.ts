import type { Uncertainty } from '../record/events.ts';
import type { RollStatus } from '../record/roll-status.ts';
import type { DifferenceKind } from './audit-report.ts';

/** One answer to "how is the fleet": the body of `/v1/status` and of `rollcall status -o json`. */
export interface FleetStatus extends RollStatus {
  readonly revision: string;
  /** The roll is at most this old. */
  readonly ageMs: number;
  /** True if the roll may have changed since, because the store does not answer. */
  readonly stale: boolean;
  readonly uncertainty: Uncertainty | null;
  readonly store: StatusStore;
  /** Nodes that rollcall drains, or that were made active again by something else; null: not known. */
  readonly drains: readonly StatusDrain[] | null;
  /** How many there are; null: not known. */
  readonly draining: number | null;
  /** The continuous audit; null: it never ran, or is not known. */
  readonly audit: StatusAudit | null;
  /** Lines on what could not be read, what no node of the filter has, clocks that are off, and a mass loss. */
  readonly notes: readonly string[];
}

interface StatusStore {
  /** Without its password. */
  readonly url: string;
  /** As in the `source` of events; null: not known. */
  readonly id: string | null;
  readonly version: string | null;
  readonly members: readonly string[] | null;
  readonly leader: string | null;
}

/** A drain slot as it is stored. */
export interface StatusClaim {
  readonly ec2InstanceId: string;
  readonly cluster: string | null;
  /** `claimed`, `asked`, `drained`, `activating`, `overruled` or `manual`; null: written by another version. */
  readonly phase: string | null;
  readonly reason: string;
  /** RFC 3339; null: not known. */
  readonly since: string | null;
}

/** With what the roll has of the node; null: it is not on the roll, or not known. */
interface StatusDrain extends StatusClaim {
  readonly privateIpAddress: string | null;
  readonly availabilityZone: string | null;
}

export interface StatusAudit {
  /** The agent that audits at present; null: none, or it does not know its id. */
  readonly leader: string | null;
  /** RFC 3339 instant of the last result; null: no audit has succeeded yet. */
  readonly finishedAt: string | null;
  /** Why the last audit failed; null: it succeeded. */
  readonly error: string | null;
  readonly agreeing: number;
  /** Nodes that it could not tell about. */
  readonly undecided: number;
  readonly differences: Readonly<Record<DifferenceKind, number>>;
}
