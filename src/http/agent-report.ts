import type { LoopAge } from '../lib/run-group.ts';
import type { CheckVerdict, Interruption, NodeRecord } from '../record/record.ts';

/**
 * What the agent can say of itself at one moment. The HTTP side only renders it: `/v1/self`, `/healthz`, `/readyz`
 * and `/metrics` are four views of this one value.
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
  /** What EC2 has announced to this node, also while there is no record yet; null while nothing is known of. */
  readonly interruption: Interruption | null;
  readonly sources: readonly SourceReport[];
  /** null: the agent was not told to drain. */
  readonly drain: DrainReport | null;
  /** null: it was not told to put attributes on its container instance. */
  readonly ecsAttributes: AttributesReport | null;
  /** A loop that has made no step for longer than its limit is stuck, and the process with it. */
  readonly loops: readonly LoopAge[];
}

export const LEASE_STATES = ['unregistered', 'held', 'lost', 'superseded', 'departed'] as const;

export interface LeaseReport {
  /** The store's URL without its password. */
  readonly store: string;
  readonly state: (typeof LEASE_STATES)[number];
  /** What the publisher does or waits for, in one line. */
  readonly reason: string;
  /** The lease is held and its last beat is less than one TTL ago. */
  readonly believedGood: boolean;
  readonly ttlMs: number;
  /** Since the last beat that the store confirmed; null before the first. */
  readonly lastBeatAgeMs: number | null;
  /** null while calls to the store succeed. */
  readonly lastError: string | null;
  readonly counts: LeaseCounts;
}

/** Since the start of the process. */
export interface LeaseCounts {
  readonly registrations: number;
  /** Times the lease was found gone, or had to be presumed gone. */
  readonly losses: number;
  readonly beats: number;
  readonly failedBeats: number;
  readonly recordWrites: number;
  readonly storeErrors: number;
}

export interface CheckReport extends CheckVerdict {
  /** False: of this process alone, and never in the record. */
  readonly published: boolean;
  /** Since the last look; null before the first. */
  readonly ageMs: number | null;
  readonly lastDurationMs: number | null;
  /** Since the start of the process, as the next. */
  readonly looks: number;
  /** Looks that did not pass, whatever the verdict made of them. */
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
 * - `idle`: nothing to drain for. - `waiting`: there is, and it is not drained yet: no slot, or somebody does not answer.
 * - `draining`: rollcall had ECS drain this node. - `left-alone`: drained, or made active again, by somebody else.
 */
export const DRAIN_PHASES = ['idle', 'waiting', 'draining', 'left-alone'] as const;
export type DrainPhase = (typeof DRAIN_PHASES)[number];

export interface DrainReport {
  readonly state: DrainPhase;
  /** One line for a person. */
  readonly reason: string;
  /** RFC 3339 instant at which `state` began, of this process. */
  readonly since: string;
}

export const ATTRIBUTES_STATES = ['unknown', 'current', 'behind', 'failing'] as const;

export interface AttributesReport {
  /** `current`: ECS has what it should. `behind`: not yet. `failing`: the last call failed. */
  readonly state: (typeof ATTRIBUTES_STATES)[number];
  readonly reason: string;
  /** null: nothing was written yet. */
  readonly lastWrite: string | null;
}
