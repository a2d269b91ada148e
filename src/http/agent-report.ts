import type { LoopAge } from '../lib/run-group.ts';
import type { CheckVerdict, Interruption, NodeRecord } from '../record/record.ts';

/**
 * The state of the agent at one moment. `/v1/self`, `/healthz`, `/readyz` and `/metrics` only render this value.
 */
export interface AgentReport {
  readonly version: string;
  readonly session: string;
  /** RFC 3339. */
  readonly startedAt: string;
  /** null until the instance id is known. */
  readonly record: NodeRecord | null;
  readonly lease: LeaseReport;
  readonly checks: readonly CheckReport[];
  /** The current notice of EC2, also before there is a record; null: none is known. */
  readonly interruption: Interruption | null;
  readonly sources: readonly SourceReport[];
  /** null without --drain-on. */
  readonly drain: DrainReport | null;
  /** null without --ecs-attributes. */
  readonly ecsAttributes: AttributesReport | null;
  /** A loop without a step for longer than its limit is stuck; `/healthz` then fails. */
  readonly loops: readonly LoopAge[];
}

export const LEASE_STATES = ['unregistered', 'held', 'lost', 'superseded', 'departed'] as const;

export interface LeaseReport {
  /** The store's URL without its password. */
  readonly store: string;
  readonly state: (typeof LEASE_STATES)[number];
  /** What the publisher does or waits for; one line. */
  readonly reason: string;
  /** True if the lease is held and its last heartbeat is less than one TTL ago. */
  readonly believedGood: boolean;
  readonly ttlMs: number;
  /** Since the last heartbeat that the store confirmed; null before the first. */
  readonly lastBeatAgeMs: number | null;
  /** null while calls to the store succeed. */
  readonly lastError: string | null;
  readonly counts: LeaseCounts;
}

/** Counts since the start of the process. */
export interface LeaseCounts {
  readonly registrations: number;
  /** Times the lease was lost, or had to be treated as lost. */
  readonly losses: number;
  readonly beats: number;
  readonly failedBeats: number;
  readonly recordWrites: number;
  readonly storeErrors: number;
}

export interface CheckReport extends CheckVerdict {
  /** False: the check is not in the record, only in this process. */
  readonly published: boolean;
  /** Since the last run; null before the first. */
  readonly ageMs: number | null;
  readonly lastDurationMs: number | null;
  /** Runs since the start of the process. */
  readonly looks: number;
  /** Runs whose result was not `passing`, before damping. */
  readonly failures: number;
}

export interface SourceReport {
  /** `imds`, `introspection` or `notices`. */
  readonly name: string;
  /** Since the last complete answer; null before the first. */
  readonly ageMs: number | null;
  /** null while the source answers. */
  readonly lastError: string | null;
  readonly lastDurationMs: number | null;
  readonly reads: number;
  readonly failures: number;
}

/**
 * - `idle`: no cause to drain. - `waiting`: there is a cause, but the node is not drained yet: no free slot, or the store or
 * ECS does not answer. - `draining`: rollcall set the node to DRAINING. - `left-alone`: a user drained or activated it.
 */
export const DRAIN_PHASES = ['idle', 'waiting', 'draining', 'left-alone'] as const;
export type DrainPhase = (typeof DRAIN_PHASES)[number];

export interface DrainReport {
  readonly state: DrainPhase;
  /** One line for the user. */
  readonly reason: string;
  /** RFC 3339 instant at which `state` began in this process. */
  readonly since: string;
}

export const ATTRIBUTES_STATES = ['unknown', 'current', 'behind', 'failing'] as const;

export interface AttributesReport {
  /** `current`: ECS has the right attributes. `behind`: not yet. `failing`: the last call failed. */
  readonly state: (typeof ATTRIBUTES_STATES)[number];
  readonly reason: string;
  /** null before the first write. */
  readonly lastWrite: string | null;
}
