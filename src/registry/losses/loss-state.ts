import type { RollEvent, Uncertainty } from '../../record/event.ts';
import type { RollEntry } from '../../record/roll.ts';
import { type LossMap, lossMap } from './loss-map.ts';

/** What the loss guard remembers. It is never changed, only replaced. */
export interface GuardState {
  /** Nodes that vanished and were not told as lost, with their entries as readers were last told: still present. */
  readonly held: LossMap<RollEntry>;
  /**
   * The revision to resume after so that no held loss is missed; null while none is held. It stays at the first loss
   * until nothing is held. `"0"` for what a snapshot brought: nobody knows when in its gap it happened.
   */
  readonly heldAfter: string | null;
  /** null while the losses, if any, are few. */
  readonly uncertainty: Uncertainty | null;

  /** Of the same nodes as `held`. */
  readonly losses: LossMap<HeldLoss>;
  /** When the last of them is due; 0 while there is none. */
  readonly lastDueMs: number;
  readonly phase: GuardPhase;
  /** Losses that were told, for as long as they count as recent: see `loss-window.ts`. */
  readonly told: ReadonlyMap<number, number>;
  readonly lookedAtMs: number;
  /** Of the last changes or snapshot. */
  readonly revision: string;
  /** Nodes that are really present, at that revision. */
  readonly present: number;
}

export interface HeldLoss {
  /** The entry now. */
  readonly after: RollEntry;
  /** At which the presence went. */
  readonly revision: string;
  /** Monotonic; a TTL after it went. */
  readonly dueAtMs: number;
}

/** The fleet as it was when the store was asked: the answer is about that one, whatever vanished since. */
export interface LookedAt {
  readonly vanished: number;
  readonly present: number;
}

/** Instants are monotonic. */
export type GuardPhase =
  | { readonly kind: 'rest' }
  /** Something vanished, and it is not yet known whether the store is what failed; `look`: it is being asked. */
  | { readonly kind: 'suspicion'; readonly deadlineMs: number; readonly look: LookedAt | null }
  | {
      readonly kind: 'uncertain';
      readonly untilMs: number;
      /** `untilMs` never moves beyond it. */
      readonly capMs: number;
      /** The number of vanished nodes that readers were told. */
      readonly announced: number;
      /** As in `UncertainEvent`. */
      readonly part: number;
      readonly returned: number;
    };

export const initialGuardState: GuardState = {
  held: lossMap(),
  heldAfter: null,
  uncertainty: null,
  losses: lossMap(),
  lastDueMs: 0,
  phase: { kind: 'rest' },
  told: new Map(),
  lookedAtMs: Number.NEGATIVE_INFINITY,
  revision: '0',
  present: 0,
};

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
