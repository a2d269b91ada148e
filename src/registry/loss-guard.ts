import { diffEntry, type RollEvent, type Uncertainty } from '../record/events.ts';
import { presenceState, type RollEntry } from '../record/roll.ts';
import { isMassLoss, type MassLossLimits } from './mass-loss.ts';
import { type LossMap, lossMap } from './sharded-map.ts';

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
  /** Losses that were told, for as long as they count as recent: see `withTold`. */
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

/** The TTL is what a node wrote about itself. No mistake in it holds a loss back for longer. */
const MAX_HOLD_MS = 300_000;

interface Intake {
  readonly state: GuardState;
  /** What is no loss, and so was not held; a snapshot tells it itself. */
  readonly events: readonly RollEvent[];
}

/**
 * Holds back every loss in the changes, and lets those go that were held and are not lost any more: back, departed or
 * forgotten. What is told of these is the difference from what readers were last told.
 */
export function takeChanges(
  state: GuardState,
  { kind, revision, changes, present }: Extract<GuardInput, { kind: 'changes' | 'snapshot' }>,
  nowMs: number,
): Intake {
  let { held, losses, lastDueMs } = state;
  let returned = 0;
  const events: RollEvent[] = [];
  const release = (instanceId: string, after: RollEntry | null) => {
    if (!held.has(instanceId)) return;
    held = held.without(instanceId);
    losses = losses.without(instanceId);
    if (after?.presence) returned += 1;
  };

  if (kind === 'snapshot') {
    // The changes are against what readers were told: a held node that is not among them is present as before.
    const changed = new Set(changes.map(({ instanceId }) => instanceId));
    for (const [instanceId, shown] of held) if (!changed.has(instanceId)) release(instanceId, shown);
  }
  for (const { instanceId, before, after } of changes) {
    const shown = held.get(instanceId) ?? before;
    if (shown?.presence && after && presenceState(after) === 'lost') {
      const dueAtMs = nowMs + holdMs(shown.presence.ttlSeconds);
      const loss = losses.get(instanceId) ?? { revision, dueAtMs };
      held = held.with(instanceId, shown);
      losses = losses.with(instanceId, { ...loss, after });
      lastDueMs = Math.max(lastDueMs, loss.dueAtMs);
      continue;
    }
    release(instanceId, after);
    if (kind === 'changes') events.push(...diffEntry(instanceId, shown, after, revision));
  }

  const { phase } = state;
  const heldAfter = kind === 'snapshot' ? '0' : (state.heldAfter ?? String(BigInt(revision) - 1n));
  return {
    state: {
      ...state,
      held,
      losses,
      heldAfter: held.size === 0 ? null : heldAfter,
      lastDueMs: held.size === 0 ? 0 : lastDueMs,
      phase: phase.kind === 'uncertain' ? { ...phase, returned: phase.returned + returned } : phase,
      revision,
      present,
    },
    events,
  };
}

function holdMs(ttlSeconds: number): number {
  return Math.min(Math.max(ttlSeconds * 1_000, 0), MAX_HOLD_MS);
}

export type IdentifiedLoss = readonly [instanceId: string, loss: HeldLoss];

/** The held losses as they happened. */
export function lossesInOrder(state: GuardState): readonly IdentifiedLoss[] {
  return [...state.losses].sort(
    ([idA, a], [idB, b]) => Number(BigInt(a.revision) - BigInt(b.revision)) || (idA < idB ? -1 : 1),
  );
}

/** Each from the entry that readers were told last to the one there is now, at the revision at which it vanished. */
export function lostEvents({ held }: GuardState, losses: readonly IdentifiedLoss[]): readonly RollEvent[] {
  return losses.flatMap(([instanceId, { after, revision }]) =>
    diffEntry(instanceId, held.get(instanceId) ?? null, after, revision),
  );
}

/** Nothing is held any more. */
export function atRest(state: GuardState, events: readonly RollEvent[]): GuardStep {
  const { told, lookedAtMs, revision, present } = state;
  return { state: { ...initialGuardState, told, lookedAtMs, revision, present }, events, look: false, wakeAtMs: null };
}

/** Told losses are counted by the instant until which they are recent, to this many milliseconds. */
const STEP_MS = 250;
/** More instants than a TTL of half an hour has. */
const MAX_INSTANTS = 10_000;

/**
 * Counts losses by when they stop to be recent: a TTL after each was seen. One that was held for so long is not.
 * @param told what there was @param dueAtMs of the losses told now
 */
export function withTold(
  told: ReadonlyMap<number, number>,
  dueAtMs: readonly number[],
  nowMs: number,
): ReadonlyMap<number, number> {
  const counts = new Map([...told].filter(([untilMs]) => untilMs > nowMs));
  for (const dueMs of dueAtMs) {
    if (dueMs <= nowMs) continue;
    const untilMs = Math.ceil(dueMs / STEP_MS) * STEP_MS;
    counts.set(untilMs, (counts.get(untilMs) ?? 0) + 1);
  }
  return counts.size <= MAX_INSTANTS ? counts : new Map([...counts].slice(-MAX_INSTANTS));
}

export function countTold(told: ReadonlyMap<number, number>, nowMs: number): number {
  let count = 0;
  for (const [untilMs, losses] of told) if (untilMs > nowMs) count += losses;
  return count;
}

/** An uncertainty that goes on because more and more nodes vanish is settled after this many times its first length. */
const MAX_EXTENSION = 3;
/** Readers are told again when the number of vanished nodes has grown by half: 20 times on the way to 10,000. */
const GROWTH = 1.5;

/** Holds what is held until it is due. @param vanished the number to be told @param part as in `UncertainEvent` */
export function becomeUncertain(
  state: GuardState,
  vanished: number,
  now: GuardTime,
  limits: MassLossLimits,
  part = 0,
): GuardStep {
  const untilMs = state.lastDueMs;
  const uncertainty: Uncertainty = {
    vanished,
    nodes: state.present + state.held.size + countTold(state.told, now.monotonicMs),
    limitShare: limits.share,
    limitCount: limits.count,
    since: new Date(now.wallMs).toISOString(),
    until: wallTime(untilMs, now),
  };
  const capMs = now.monotonicMs + MAX_EXTENSION * (untilMs - now.monotonicMs);
  return {
    state: {
      ...state,
      uncertainty,
      phase: { kind: 'uncertain', untilMs, capMs, announced: vanished, part, returned: 0 },
    },
    events: [{ kind: 'uncertain', revision: state.revision, uncertainty, part }],
    look: false,
    wakeAtMs: untilMs,
  };
}

/** Ends it when nothing is held any more or the wait is over; else brings its numbers up to date. */
export function judgeUncertainty(
  state: GuardState,
  phase: Extract<GuardPhase, { kind: 'uncertain' }>,
  uncertainty: Uncertainty,
  input: GuardInput,
  now: GuardTime,
  limits: MassLossLimits,
): GuardStep {
  const { revision } = state;
  const { returned, part } = phase;
  const untilMs = Math.min(Math.max(phase.untilMs, state.lastDueMs), phase.capMs);
  if (state.held.size === 0) return atRest(state, [{ kind: 'certain', revision, part, returned, lost: 0 }]);
  // Changes may be one of many that come late: behind them are perhaps those that say who returned.
  if (input.kind === 'tick' && now.monotonicMs >= untilMs) return settle(state, phase, now, limits);

  const gone = state.held.size + countTold(state.told, now.monotonicMs);
  const vanished = Math.max(uncertainty.vanished, gone);
  const grown = vanished >= phase.announced * GROWTH;
  const next: Uncertainty = {
    ...uncertainty,
    vanished,
    nodes: Math.max(uncertainty.nodes, state.present + gone),
    until: untilMs === phase.untilMs ? uncertainty.until : wallTime(untilMs, now),
  };
  return {
    state: {
      ...state,
      uncertainty: next,
      phase: { ...phase, untilMs, announced: grown ? vanished : phase.announced },
    },
    events: grown ? [{ kind: 'uncertain', revision, uncertainty: next, part }] : [],
    look: false,
    wakeAtMs: untilMs,
  };
}

/** The wait is over for those that are due; whoever vanished too late for that goes on to be held, as a new uncertainty. */
function settle(
  state: GuardState,
  { returned, part }: Extract<GuardPhase, { kind: 'uncertain' }>,
  now: GuardTime,
  limits: MassLossLimits,
): GuardStep {
  const due = lossesInOrder(state).filter(([, loss]) => loss.dueAtMs <= now.monotonicMs);
  // First the headline: a reader that holds still while it is uncertain can act on every `lost` it gets.
  const events: RollEvent[] = [
    { kind: 'certain', revision: state.revision, part, returned, lost: due.length },
    ...lostEvents(state, due),
  ];
  if (due.length === state.held.size) return atRest(state, events);
  let { held, losses } = state;
  for (const [instanceId] of due) {
    held = held.without(instanceId);
    losses = losses.without(instanceId);
  }
  const step = becomeUncertain({ ...state, held, losses }, held.size, now, limits, part + 1);
  return { ...step, events: [...events, ...step.events] };
}

function wallTime(monotonicMs: number, now: GuardTime): string {
  return new Date(now.wallMs + monotonicMs - now.monotonicMs).toISOString();
}

/** The longest that a loss is held while it is only suspected to be one of many. */
const SUSPICION_MS = 500;
/** Between two looks: nodes that die one by one must not make every reader ask the store all the time. */
const LOOK_GAP_MS = 200;

/** What becomes of the losses that are held, in the light of `input`. */
export function judgeLosses(state: GuardState, input: GuardInput, now: GuardTime, limits: MassLossLimits): GuardStep {
  const { phase, uncertainty } = state;
  const step =
    phase.kind === 'uncertain' && uncertainty
      ? judgeUncertainty(state, phase, uncertainty, input, now, limits)
      : judgeSuspicion(state, input, now, limits);
  // A snapshot tells the nodes itself, and those that are held no more as they are now.
  if (input.kind !== 'snapshot') return step;
  return { ...step, events: step.events.filter((event) => !('instanceId' in event)) };
}

function judgeSuspicion(state: GuardState, input: GuardInput, now: GuardTime, limits: MassLossLimits): GuardStep {
  if (state.held.size === 0) return atRest(state, []);
  const nowMs = now.monotonicMs;
  const vanished = state.held.size + countTold(state.told, nowMs);
  const nodes = state.present + vanished;
  const answered = input.kind === 'looked' && input.asked > 0;
  const { phase } = state;
  const asNow: LookedAt = { vanished, present: state.present };
  const asLookedAt = (phase.kind === 'suspicion' && phase.look) || asNow;
  const overdue = answered ? Math.round((input.overdue / input.asked) * asLookedAt.present) : 0;
  // Who vanished since the store was asked is among those that were overdue then; who departed is gone in another way.
  const alsoGone = overdue - Math.max(0, vanished - asLookedAt.vanished);
  const gone = vanished + Math.min(Math.max(0, alsoGone), state.present);
  if (isMassLoss(gone, nodes - gone, limits)) return becomeUncertain(state, gone, now, limits);
  // Else they are few; or nobody is left to be asked about; or all nodes together are too few to pass the limits.
  if (answered || state.present === 0 || nodes < limits.count) return tellAll(state, nowMs);

  const deadlineMs = phase.kind === 'suspicion' ? phase.deadlineMs : nowMs + SUSPICION_MS;
  if (input.kind === 'tick' && nowMs >= deadlineMs) {
    // A store that does not answer is one that may have lost their leases, too.
    return vanished >= limits.count ? becomeUncertain(state, vanished, now, limits) : tellAll(state, nowMs);
  }
  const asked = phase.kind === 'suspicion' && input.kind !== 'looked' ? phase.look : null;
  const lookAtMs = state.lookedAtMs + LOOK_GAP_MS;
  const look = asked === null && nowMs >= lookAtMs;
  return {
    state: {
      ...state,
      phase: { kind: 'suspicion', deadlineMs, look: look ? asNow : asked },
      lookedAtMs: look ? nowMs : state.lookedAtMs,
    },
    events: [],
    look,
    wakeAtMs: look || asked !== null ? deadlineMs : Math.min(deadlineMs, lookAtMs),
  };
}

function tellAll(state: GuardState, nowMs: number): GuardStep {
  const losses = lossesInOrder(state);
  const dueAtMs = losses.map(([, loss]) => loss.dueAtMs);
  return atRest({ ...state, told: withTold(state.told, dueAtMs, nowMs) }, lostEvents(state, losses));
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
