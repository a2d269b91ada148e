import { diffEntry, type RollEvent, type Uncertainty } from '../record/events.ts';
import { presenceState, type RollEntry } from '../record/roll.ts';
import { isMassLoss, type MassLossLimits } from './mass-loss.ts';
import { type LossMap, lossMap } from './sharded-map.ts';

/** The loss guard's state: an immutable value. */
export interface GuardState {
  /** Vanished nodes whose `lost` event is held back, each with the entry that readers have: still present. */
  readonly held: LossMap<RollEntry>;
  /**
   * The revision to resume after so that no held loss is missed; null while none is held. It stays at the first loss
   * until nothing is held. `"0"` for losses from a snapshot: their revisions are unknown.
   */
  readonly heldAfter: string | null;
  /** null: no losses, or few. */
  readonly uncertainty: Uncertainty | null;

  /** Has the same nodes as `held`. */
  readonly losses: LossMap<HeldLoss>;
  /** When the last of them is due; 0: none. */
  readonly lastDueMs: number;
  readonly phase: GuardPhase;
  /** Losses of the last TTL whose `lost` event was sent, counted by when they stop to be recent. */
  readonly recentLosses: ReadonlyMap<number, number>;
  readonly polledAtMs: number;
  /** Of the latest changes or snapshot. */
  readonly revision: string;
  /** Nodes that are present at that revision. */
  readonly present: number;
}

interface HeldLoss {
  /** The current entry. */
  readonly after: RollEntry;
  /** At which the presence ended. */
  readonly revision: string;
  /** Monotonic; a TTL after the presence ended. */
  readonly dueAtMs: number;
}

/** The fleet when the store was polled: the answer is about this one, whatever vanished since. */
interface PolledFleet {
  readonly vanished: number;
  readonly present: number;
}

/** Instants are monotonic. */
type GuardPhase =
  | { readonly kind: 'rest' }
  /** A node vanished, and it is unknown whether the store failed. `poll`: the poll under way; null: none. */
  | { readonly kind: 'suspicion'; readonly deadlineMs: number; readonly poll: PolledFleet | null }
  | {
      readonly kind: 'uncertain';
      readonly untilMs: number;
      /** The latest value that `untilMs` may get. */
      readonly capMs: number;
      /** The number of vanished nodes in the last `uncertain` event. */
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
  recentLosses: new Map(),
  polledAtMs: Number.NEGATIVE_INFINITY,
  revision: '0',
  present: 0,
};

export type GuardInput =
  | {
      /**
       * `changes`: those of one revision, against the store's roll before it. `snapshot`: the differences between the roll
       * that readers have and a new snapshot; every other node is as readers have it.
       */
      readonly kind: 'changes' | 'snapshot';
      readonly revision: string;
      readonly changes: readonly {
        readonly instanceId: string;
        readonly before: RollEntry | null;
        readonly after: RollEntry | null;
      }[];
      /** Nodes present in the store's roll after the changes. */
      readonly present: number;
    }
  /** The store's answer about a sample of the present nodes; `asked` is 0 when there was no answer. */
  | { readonly kind: 'polled'; readonly asked: number; readonly overdue: number }
  /**
   * Time has passed, and all changes of the store up to now were fed in. Only a tick ends a wait. While the store is away
   * or its changes come late, it is unknown which nodes returned, so there must be no tick.
   */
  | { readonly kind: 'tick' };

interface GuardStep {
  readonly state: GuardState;
  /** To send now, in this order. For a snapshot only `uncertain` and `certain`: the snapshot itself has the nodes. */
  readonly events: readonly RollEvent[];
  /** Ask the store now how many of the present nodes are overdue, and feed in the answer or that there was none. */
  readonly poll: boolean;
  /** Feed in a tick at this monotonic instant at the latest; null: not needed. */
  readonly wakeAtMs: number | null;
}

/** One instant on both clocks. */
interface GuardTime {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** A node's own record states its TTL. A wrong TTL must not hold a loss back for longer than this. */
const MAX_HOLD_MS = 300_000;

interface Applied {
  readonly state: GuardState;
  /** Changes that are no losses, and so are not held; empty for a snapshot. */
  readonly events: readonly RollEvent[];
}

/**
 * Holds back every loss in the changes, and releases held nodes that are not lost any more: returned, departed or
 * forgotten. Their events are the difference from what readers have.
 */
function applyChanges(
  state: GuardState,
  { kind, revision, changes, present }: Extract<GuardInput, { kind: 'changes' | 'snapshot' }>,
  nowMs: number,
): Applied {
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
    // A held node without a change is present in the snapshot exactly as readers have it.
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

type IdentifiedLoss = readonly [instanceId: string, loss: HeldLoss];

/** The held losses in the order in which they happened. */
function lossesInOrder(state: GuardState): readonly IdentifiedLoss[] {
  return [...state.losses].sort(
    ([idA, a], [idB, b]) => Number(BigInt(a.revision) - BigInt(b.revision)) || (idA < idB ? -1 : 1),
  );
}

/** The `lost` events: each from the entry that readers have to the current one, at the revision of the loss. */
function lostEvents({ held }: GuardState, losses: readonly IdentifiedLoss[]): readonly RollEvent[] {
  return losses.flatMap(([instanceId, { after, revision }]) =>
    diffEntry(instanceId, held.get(instanceId) ?? null, after, revision),
  );
}

/** The state when nothing is held any more. */
function atRest(state: GuardState, events: readonly RollEvent[]): GuardStep {
  const { recentLosses, polledAtMs, revision, present } = state;
  return {
    state: { ...initialGuardState, recentLosses, polledAtMs, revision, present },
    events,
    poll: false,
    wakeAtMs: null,
  };
}

/** Recent losses are counted by the instant at which they stop to be recent, rounded up to this many milliseconds. */
const STEP_MS = 250;
/** More instants than fit into a TTL of half an hour. */
const MAX_INSTANTS = 10_000;

/**
 * Adds losses whose `lost` event is sent now. A loss is recent for a TTL after it was seen; one that was held for so long
 * is not. @param dueAtMs of these losses
 */
export function addRecentLosses(
  recent: ReadonlyMap<number, number>,
  dueAtMs: readonly number[],
  nowMs: number,
): ReadonlyMap<number, number> {
  const counts = new Map([...recent].filter(([untilMs]) => untilMs > nowMs));
  for (const dueMs of dueAtMs) {
    if (dueMs <= nowMs) continue;
    const untilMs = Math.ceil(dueMs / STEP_MS) * STEP_MS;
    counts.set(untilMs, (counts.get(untilMs) ?? 0) + 1);
  }
  return counts.size <= MAX_INSTANTS ? counts : new Map([...counts].slice(-MAX_INSTANTS));
}

export function countRecentLosses(recent: ReadonlyMap<number, number>, nowMs: number): number {
  let count = 0;
  for (const [untilMs, losses] of recent) if (untilMs > nowMs) count += losses;
  return count;
}

/** An uncertainty that is extended because more nodes vanish ends after this many times its first length. */
const MAX_EXTENSION = 3;
/** `uncertain` is sent again when the number of vanished nodes has grown by half: 20 times up to 10,000. */
const GROWTH = 1.5;

/** Starts an uncertainty: losses stay held until they are due. @param vanished to report @param part as in `UncertainEvent` */
function becomeUncertain(
  state: GuardState,
  vanished: number,
  now: GuardTime,
  limits: MassLossLimits,
  part = 0,
): GuardStep {
  const untilMs = state.lastDueMs;
  const uncertainty: Uncertainty = {
    vanished,
    nodes: state.present + state.held.size + countRecentLosses(state.recentLosses, now.monotonicMs),
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
    poll: false,
    wakeAtMs: untilMs,
  };
}

/** Ends the uncertainty when nothing is held any more or the wait is over; otherwise updates its numbers. */
function judgeUncertainty(
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
  // Only on a tick: changes may be the first of many that come late, and later ones may bring nodes back.
  if (input.kind === 'tick' && now.monotonicMs >= untilMs) return endWait(state, phase, now, limits);

  const gone = state.held.size + countRecentLosses(state.recentLosses, now.monotonicMs);
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
    poll: false,
    wakeAtMs: untilMs,
  };
}

/** Sends the losses that are due; those that are not due yet stay held, as a new uncertainty. */
function endWait(
  state: GuardState,
  { returned, part }: Extract<GuardPhase, { kind: 'uncertain' }>,
  now: GuardTime,
  limits: MassLossLimits,
): GuardStep {
  const due = lossesInOrder(state).filter(([, loss]) => loss.dueAtMs <= now.monotonicMs);
  // `certain` first: a reader that waits while it is uncertain can then act on every `lost` that follows.
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

/** The longest time that a loss is held while it is unknown whether it is one of many. */
const SUSPICION_MS = 500;
/** Between two polls, so that nodes which die one by one do not make every reader poll the store all the time. */
const POLL_GAP_MS = 200;

/** Decides about the held losses after `input`. */
function judgeLosses(state: GuardState, input: GuardInput, now: GuardTime, limits: MassLossLimits): GuardStep {
  const { phase, uncertainty } = state;
  const step =
    phase.kind === 'uncertain' && uncertainty
      ? judgeUncertainty(state, phase, uncertainty, input, now, limits)
      : judgeSuspicion(state, input, now, limits);
  // The snapshot itself has the nodes, the released ones as they are now.
  if (input.kind !== 'snapshot') return step;
  return { ...step, events: step.events.filter((event) => !('instanceId' in event)) };
}

function judgeSuspicion(state: GuardState, input: GuardInput, now: GuardTime, limits: MassLossLimits): GuardStep {
  if (state.held.size === 0) return atRest(state, []);
  const nowMs = now.monotonicMs;
  const vanished = state.held.size + countRecentLosses(state.recentLosses, nowMs);
  const nodes = state.present + vanished;
  const answered = input.kind === 'polled' && input.asked > 0;
  const { phase } = state;
  const asNow: PolledFleet = { vanished, present: state.present };
  const asPolled = (phase.kind === 'suspicion' && phase.poll) || asNow;
  const overdue = answered ? Math.round((input.overdue / input.asked) * asPolled.present) : 0;
  // A node that vanished since the poll was overdue in it. One that departed is not counted as vanished.
  const alsoGone = overdue - Math.max(0, vanished - asPolled.vanished);
  const gone = vanished + Math.min(Math.max(0, alsoGone), state.present);
  if (isMassLoss(gone, nodes - gone, limits)) return becomeUncertain(state, gone, now, limits);
  // Few losses; or no present node is left to poll; or all nodes together are fewer than the count.
  if (answered || state.present === 0 || nodes < limits.count) return emitAll(state, nowMs);

  const deadlineMs = phase.kind === 'suspicion' ? phase.deadlineMs : nowMs + SUSPICION_MS;
  if (input.kind === 'tick' && nowMs >= deadlineMs) {
    // A store that does not answer may be what failed: only the number of the losses decides.
    return vanished >= limits.count ? becomeUncertain(state, vanished, now, limits) : emitAll(state, nowMs);
  }
  const pending = phase.kind === 'suspicion' && input.kind !== 'polled' ? phase.poll : null;
  const pollAtMs = state.polledAtMs + POLL_GAP_MS;
  const poll = pending === null && nowMs >= pollAtMs;
  return {
    state: {
      ...state,
      phase: { kind: 'suspicion', deadlineMs, poll: poll ? asNow : pending },
      polledAtMs: poll ? nowMs : state.polledAtMs,
    },
    events: [],
    poll,
    wakeAtMs: poll || pending !== null ? deadlineMs : Math.min(deadlineMs, pollAtMs),
  };
}

function emitAll(state: GuardState, nowMs: number): GuardStep {
  const losses = lossesInOrder(state);
  const dueAtMs = losses.map(([, loss]) => loss.dueAtMs);
  return atRest(
    { ...state, recentLosses: addRecentLosses(state.recentLosses, dueAtMs, nowMs) },
    lostEvents(state, losses),
  );
}

/**
 * Filters the store's changes before readers get them, because a store that fails for a moment ends the leases of healthy
 * nodes. A loss is held until the store was asked how many others are overdue. Few: the `lost` event is sent, within
 * 500 ms in any case. Many: `uncertain` is sent instead. A node that returns within the next TTL was never lost for any
 * reader; then `certain` is sent with the numbers, and after it the `lost` events that it counts.
 * @param limits null: the guard is off, everything is sent at once
 */
export function guardLosses(
  state: GuardState,
  input: GuardInput,
  now: GuardTime,
  limits: MassLossLimits | null,
): GuardStep {
  if (limits === null) return { state, events: allChanges(input), poll: false, wakeAtMs: null };
  if (input.kind === 'polled' || input.kind === 'tick') return judgeLosses(state, input, now, limits);
  const taken = applyChanges(state, input, now.monotonicMs);
  const step = judgeLosses(taken.state, input, now, limits);
  return { ...step, events: [...taken.events, ...step.events] };
}

function allChanges(input: GuardInput): readonly RollEvent[] {
  if (input.kind !== 'changes') return [];
  return input.changes.flatMap(({ instanceId, before, after }) => diffEntry(instanceId, before, after, input.revision));
}
