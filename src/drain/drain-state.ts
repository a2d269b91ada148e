import type { HeldClaim } from '../store/drain-slots.ts';
import { Backoff } from '../timing/backoff.ts';

/**
 * - `idle`: nothing to drain for. - `waiting`: there is, and it is not drained yet: no slot, or somebody does not answer.
 * - `draining`: rollcall had ECS drain this node. - `left-alone`: drained, or made active again, by somebody else.
 */
export const DRAIN_PHASES = ['idle', 'waiting', 'draining', 'left-alone'] as const;
export type DrainPhase = (typeof DRAIN_PHASES)[number];

/** What the drain loop knows. Instants are on the monotonic clock. */
export interface DrainState {
  /** null: this node has none; undefined: not known. */
  readonly claim: HeldClaim | null | undefined;
  readonly renewAtMs: number;
  /** As ECS described it last; null: not looked at, or not any more. */
  readonly status: { readonly arn: string; readonly text: string; readonly atMs: number } | null;
  /** ECS said no when it was asked to drain: it did not. */
  readonly drainDenied: boolean;
  /** ECS was asked to make this one ACTIVE again by this process, whatever it answered. */
  readonly activatedArn: string | null;
  /** Somebody else drained this container instance, or undid it, and the cause still stands. */
  readonly leftAloneArn: string | null;
  /** No call before this instant, and why; for people. */
  readonly retryAtMs: number;
  readonly retryReason: string;
  readonly backoff: Backoff;
  /** ECS said no: it is not asked before this instant, and meanwhile no slot is held for nothing. */
  readonly refusedUntilMs: number;
  readonly refusals: Backoff;
  /** null while calls succeed. */
  readonly lastError: string | null;
}

/** A spot instance has two minutes. */
const RETRY = new Backoff(1_000, 30_000);
/** Somebody has to change a policy first. */
const REFUSED = new Backoff(300_000, 1_800_000);

export const initialDrainState: DrainState = {
  claim: undefined,
  renewAtMs: Number.POSITIVE_INFINITY,
  status: null,
  drainDenied: false,
  activatedArn: null,
  leftAloneArn: null,
  retryAtMs: Number.NEGATIVE_INFINITY,
  retryReason: '',
  backoff: RETRY,
  refusedUntilMs: Number.NEGATIVE_INFINITY,
  refusals: REFUSED,
  lastError: null,
};
