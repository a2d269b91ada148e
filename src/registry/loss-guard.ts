import { diffEntry } from '../record/diff.ts';
import type { RollEvent } from '../record/event.ts';
import type { RollEntry } from '../record/roll.ts';
import { takeChanges } from './loss-intake.ts';
import type { GuardState } from './loss-state.ts';
import { judgeLosses } from './loss-verdict.ts';

export { type GuardState, initialGuardState } from './loss-state.ts';

/** Losing more than this share of the nodes and at least this many within one TTL is a mass loss. */
export interface MassLossLimits {
  /** From 0 to 1. */
  readonly share: number;
  readonly count: number;
}

export type GuardInput =
  | {
      /**
       * `changes`: one revision's, against the real roll before it. `snapshot`: the differences between what readers
       * were told last and a new snapshot; whoever is not among them is as readers were told.
       */
      readonly kind: 'changes' | 'snapshot';
      readonly revision: string;
      readonly changes: readonly {
        readonly instanceId: string;
        readonly before: RollEntry | null;
        readonly after: RollEntry | null;
      }[];
      /** Nodes present in the real roll after the changes. */
      readonly present: number;
    }
  /** What the store said of a sample of the present nodes; `asked` is 0 when it could not tell. */
  | { readonly kind: 'looked'; readonly asked: number; readonly overdue: number }
  /**
   * Time has passed, and the store has told nothing that was not given in. Only then does a wait end: while the store is
   * away, or its changes come late, nobody knows who returned, so there must be no tick.
   */
  | { readonly kind: 'tick' };

export interface GuardStep {
  readonly state: GuardState;
  /** To be told now, in this order. Of a snapshot only `uncertain` and `certain`: it tells the nodes itself. */
  readonly events: readonly RollEvent[];
  /** Ask the store now how many of the present nodes are overdue, and give in the answer in any case. */
  readonly look: boolean;
  /** Give in a tick at this monotonic instant at the latest; null: not needed. */
  readonly wakeAtMs: number | null;
}

/** One instant on both scales of the clock. */
export interface GuardTime {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/**
 * Stands between the store's changes and what readers are told, because a store that hiccups ends the leases of nodes
 * that are well. A loss is held until the store was asked how many others are about to be lost: few, and it is told
 * (within 500 ms in any case); many, and `uncertain` is told instead. Whoever returns within the next TTL was never
 * lost for any reader; then comes `certain` with the numbers, and after it the `lost` events of those that it counts.
 * @param limits null: the guard is off and tells everything at once
 */
export function guardLosses(
  state: GuardState,
  input: GuardInput,
  now: GuardTime,
  limits: MassLossLimits | null,
): GuardStep {
  if (limits === null) return { state, events: allChanges(input), look: false, wakeAtMs: null };
  if (input.kind === 'looked' || input.kind === 'tick') return judgeLosses(state, input, now, limits);
  const taken = takeChanges(state, input, now.monotonicMs);
  const step = judgeLosses(taken.state, input, now, limits);
  return { ...step, events: [...taken.events, ...step.events] };
}

function allChanges(input: GuardInput): readonly RollEvent[] {
  if (input.kind !== 'changes') return [];
  return input.changes.flatMap(({ instanceId, before, after }) => diffEntry(instanceId, before, after, input.revision));
}
