import {
  type CertainEvent,
  type EntryChange,
  lostPresence,
  type UncertainEvent,
  type UncertainLoss,
  type Uncertainty,
} from '../record/events.ts';
import { presenceState, type RollEntry } from '../record/roll.ts';
import { isMassLoss, MAX_WAIT_SECONDS, type MassLossLimits } from './mass-loss.ts';
import { type LossMap, lossMap } from './sharded-map.ts';

/** What is known about the latest losses: an immutable value. Instants are monotonic. */
export interface VerdictState {
  readonly phase: Phase;
  /** Nodes that may return: lost and waiting for the store's answer, or lost in an uncertainty. Empty at rest. */
  readonly open: LossMap<OpenLoss>;
  /** When the last of them is due; 0: none. */
  readonly lastDueMs: number;
  /** Of each loss that was certain at once: when it stops to be recent, a TTL after it. */
  readonly recentUntilMs: readonly number[];
  readonly polledAtMs: number;
  /** Of the latest changes, and the nodes that were present then. */
  readonly revision: string;
  readonly present: number;
  /** The last `certain`. */
  readonly ended: Pick<CertainEvent, 'revision' | 'part'> | null;
}

interface OpenLoss extends UncertainLoss {
  /** A TTL after the presence ended. A node that has not returned by then is lost for certain. */
  readonly dueAtMs: number;
}

/** The fleet when the store was polled: the answer is about this one, whatever vanished since. */
interface PolledFleet {
  readonly vanished: number;
  readonly present: number;
}

type Phase =
  | { readonly kind: 'rest' }
  /** A node vanished, and it is unknown whether many more are about to. `poll`: the poll under way; null: none. */
  | { readonly kind: 'asking'; readonly deadlineMs: number; readonly poll: PolledFleet | null }
  | UncertainPhase;

interface UncertainPhase {
  readonly kind: 'uncertain';
  readonly uncertainty: Uncertainty;
  readonly untilMs: number;
  /** The latest value that `untilMs` may get. */
  readonly capMs: number;
  /** The number of vanished nodes in the last `uncertain` event. */
  readonly announced: number;
  /** As in `UncertainEvent`. */
  readonly part: number;
  readonly returned: number;
}

export const initialVerdict: VerdictState = {
  phase: { kind: 'rest' },
  open: lossMap(),
  lastDueMs: 0,
  recentUntilMs: [],
  polledAtMs: Number.NEGATIVE_INFINITY,
  revision: '0',
  present: 0,
  ended: null,
};

/** A node that was lost before this process followed the roll, in a mass loss, and is lost still. */
export interface PastLoss extends UncertainLoss {
  readonly instanceId: string;
}

export type VerdictInput =
  | {
      /** `changes`: those of one revision. `snapshot`: from the roll at the end of the log to a new snapshot. */
      readonly kind: 'changes' | 'snapshot';
      readonly revision: string;
      readonly changes: readonly EntryChange[];
      /** Nodes present after the changes. */
      readonly present: number;
    }
  | {
      /** Losses from a replay, up to `revision`. */
      readonly kind: 'past';
      readonly revision: string;
      readonly losses: readonly PastLoss[];
      readonly present: number;
      /** Since when this process follows the roll without a gap: these nodes are lost for as long. */
      readonly seenAtMs: number;
    }
  /** The store's answer about a sample of the present nodes; `asked` is 0 when there was no answer. */
  | { readonly kind: 'polled'; readonly asked: number; readonly overdue: number }
  /**
   * Time has passed, and all changes of the store up to now were fed in. Only a tick ends a wait. While the store is away
   * or its changes come late, it is unknown which nodes returned, so there must be no tick.
   */
  | { readonly kind: 'tick' }
  /** Too many changes wait for the verdict: as a tick at the deadline. */
  | { readonly kind: 'full' };

interface VerdictStep {
  readonly state: VerdictState;
  /** null: what waits goes on waiting for the verdict. */
  readonly telling: Telling | null;
  /** Ask the store now how many of the present nodes are overdue, and feed in the answer or that there was none. */
  readonly poll: boolean;
  /** Feed in a tick at this instant, or as soon after it as may be; null: not needed. */
  readonly wakeAtMs: number | null;
}

/** How to tell what waits. */
export interface Telling {
  /** Of its losses. */
  readonly verdict: 'certain' | 'uncertain';
  /** The losses that the verdict is about. Nodes of other losses that wait have returned already. */
  readonly losses: LossMap<UncertainLoss>;
  /** To tell before what waits, and after it. */
  readonly opening: readonly UncertainEvent[];
  readonly closing: readonly (CertainEvent | UncertainEvent)[];
}

/** One instant on both clocks. */
interface VerdictTime {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

function dueAt({ presence }: RollEntry, lostAtMs: number): number {
  return lostAtMs + Math.min(Math.max((presence?.ttlSeconds ?? 0) * 1_000, 0), MAX_WAIT_SECONDS * 1_000);
}

/** Opens the losses among the changes, and closes those of nodes that are not lost any more. */
function takeChanges(
  state: VerdictState,
  { kind, revision, changes, present }: Extract<VerdictInput, { kind: 'changes' | 'snapshot' }>,
  nowMs: number,
): VerdictState {
  let { open, lastDueMs, phase } = state;
  // The revisions of a snapshot's losses are unknown, and those of its store may have been set back.
  const after = kind === 'snapshot' ? null : String(BigInt(revision) - 1n);
  if (kind === 'snapshot') {
    // What waits was not told, so it is among the changes if it is so still.
    const told = phase.kind === 'uncertain' ? open : initialVerdict.open;
    open = initialVerdict.open;
    for (const [instanceId, loss] of told) {
      // In their order, so that one that is due does not wait for a later one.
      const lostAt = BigInt(loss.revision) < BigInt(revision) ? loss.revision : revision;
      open = open.with(instanceId, { ...loss, revision: lostAt, after });
    }
  }
  for (const change of changes) {
    const { instanceId } = change;
    const before = lostPresence(change);
    const known = open.get(instanceId);
    if (before) {
      const dueAtMs = dueAt(before, nowMs);
      open = open.with(instanceId, { before, revision, after, fate: { decided: null }, dueAtMs });
      lastDueMs = Math.max(lastDueMs, dueAtMs);
    } else if (known && (change.after === null || presenceState(change.after) !== 'lost')) {
      known.fate.decided = 'returned';
      open = open.without(instanceId);
      if (change.after?.presence && phase.kind === 'uncertain') phase = { ...phase, returned: phase.returned + 1 };
    }
  }
  return { ...state, phase, open, lastDueMs, revision, present };
}

function takePast(
  state: VerdictState,
  { losses, seenAtMs, revision, present }: Extract<VerdictInput, { kind: 'past' }>,
  nowMs: number,
): VerdictState {
  let { open, lastDueMs } = state;
  for (const { instanceId, ...loss } of losses) {
    const dueAtMs = dueAt(loss.before, seenAtMs);
    if (dueAtMs <= nowMs || open.has(instanceId)) continue;
    open = open.with(instanceId, { ...loss, dueAtMs });
    lastDueMs = Math.max(lastDueMs, dueAtMs);
  }
  return { ...state, open, lastDueMs, revision, present };
}

/** More than a fleet of the greatest supported size loses in a TTL. */
const MAX_RECENT = 10_000;

function recentAt({ recentUntilMs }: VerdictState, nowMs: number): readonly number[] {
  return recentUntilMs.filter((untilMs) => untilMs > nowMs);
}

/** Nothing is open any more. */
function settle(state: VerdictState, closing: readonly CertainEvent[], recentUntilMs: readonly number[]): VerdictStep {
  const { polledAtMs, revision, present } = state;
  const ended = closing[0] ?? state.ended;
  return {
    state: { ...initialVerdict, recentUntilMs, polledAtMs, revision, present, ended },
    telling: { verdict: 'certain', losses: state.open, opening: [], closing },
    poll: false,
    wakeAtMs: null,
  };
}

/** An uncertainty that is extended because more nodes vanish ends after this many times its first length. */
const MAX_EXTENSION = 3;
/** `uncertain` is sent again when the number of vanished nodes has grown by half: 20 times up to 10,000. */
const GROWTH = 1.5;

/**
 * Starts an uncertainty, until the last open loss is due.
 * @param vanished to report @param ended what ends the one before it at this step
 */
function becomeUncertain(
  state: VerdictState,
  vanished: number,
  now: VerdictTime,
  { share, count }: MassLossLimits,
  ended: CertainEvent | null = null,
): VerdictStep {
  const { revision, open, lastDueMs: untilMs } = state;
  const uncertainty: Uncertainty = {
    vanished,
    nodes: Math.max(vanished, state.present + open.size + recentAt(state, now.monotonicMs).length),
    limitShare: share,
    limitCount: count,
    since: new Date(now.wallMs).toISOString(),
    until: wallTime(untilMs, now),
  };
  const capMs = now.monotonicMs + MAX_EXTENSION * (untilMs - now.monotonicMs);
  const last = ended ?? state.ended;
  const part = last?.revision === revision ? last.part + 1 : 0;
  const phase = { kind: 'uncertain', uncertainty, untilMs, capMs, announced: vanished, part, returned: 0 } as const;
  const event: UncertainEvent = { kind: 'uncertain', revision, uncertainty, part };
  return stayUncertain(state, phase, ended ? { closing: [ended, event] } : { opening: [event] });
}

function stayUncertain(
  state: VerdictState,
  phase: UncertainPhase,
  { opening = [], closing = [] }: Partial<Telling>,
): VerdictStep {
  return {
    state: { ...state, phase },
    telling: { verdict: 'uncertain', losses: state.open, opening, closing },
    poll: false,
    wakeAtMs: phase.untilMs,
  };
}

function wallTime(monotonicMs: number, now: VerdictTime): string {
  return new Date(now.wallMs + monotonicMs - now.monotonicMs).toISOString();
}

/** Ends the uncertainty when all are back or the wait is over; otherwise updates its numbers. */
function judgeUncertainty(
  state: VerdictState,
  phase: UncertainPhase,
  input: VerdictInput,
  now: VerdictTime,
  limits: MassLossLimits,
): VerdictStep {
  const { revision, open } = state;
  const { returned, part, uncertainty } = phase;
  const untilMs = Math.min(Math.max(phase.untilMs, state.lastDueMs), phase.capMs);
  const recent = recentAt(state, now.monotonicMs);
  if (open.size === 0) {
    return settle(state, [{ kind: 'certain', revision, upTo: revision, part, returned, lost: 0 }], recent);
  }
  // Only on a tick: changes may be the first of many that come late, and later ones may bring nodes back.
  if (input.kind === 'tick' && now.monotonicMs >= untilMs) return endWait(state, phase, now, limits);

  const gone = open.size + recent.length;
  const vanished = Math.max(uncertainty.vanished, gone);
  const grown = vanished >= phase.announced * GROWTH;
  const next: Uncertainty = {
    ...uncertainty,
    vanished,
    nodes: Math.max(uncertainty.nodes, state.present + gone),
    until: untilMs === phase.untilMs ? uncertainty.until : wallTime(untilMs, now),
  };
  const announced = grown ? vanished : phase.announced;
  return stayUncertain(
    state,
    { ...phase, untilMs, uncertainty: next, announced },
    { opening: grown ? [{ kind: 'uncertain', revision, uncertainty: next, part }] : [] },
  );
}

/** Ends the wait for the losses that are due. If later ones are not, an uncertainty about these follows at once. */
function endWait(
  state: VerdictState,
  { returned, part }: UncertainPhase,
  now: VerdictTime,
  limits: MassLossLimits,
): VerdictStep {
  const { revision, open } = state;
  const young = [...open.values()].filter(({ dueAtMs }) => dueAtMs > now.monotonicMs);
  let upTo = BigInt(revision);
  for (const loss of young) if (BigInt(loss.revision) <= upTo) upTo = BigInt(loss.revision) - 1n;
  let later = initialVerdict.open;
  for (const [instanceId, loss] of open) {
    if (BigInt(loss.revision) > upTo) later = later.with(instanceId, loss);
    else loss.fate.decided = 'lost';
  }
  const lost = open.size - later.size;
  const certain: CertainEvent = { kind: 'certain', revision, upTo: String(upTo), part, returned, lost };
  if (later.size === 0) return settle(state, [certain], recentAt(state, now.monotonicMs));
  return becomeUncertain({ ...state, open: later }, later.size, now, limits, certain);
}

/** The longest time that a loss waits for the store's answer. */
const ASKING_MS = 500;
/** Between two polls, so that nodes which die one by one do not make every reader poll the store all the time. */
const POLL_GAP_MS = 200;

function judgeOpenLosses(
  state: VerdictState,
  input: VerdictInput,
  now: VerdictTime,
  limits: MassLossLimits,
): VerdictStep {
  const { phase, open, present } = state;
  const nowMs = now.monotonicMs;
  const recent = recentAt(state, nowMs);
  if (open.size === 0) return settle(state, [], recent);
  const vanished = open.size + recent.length;
  const nodes = present + vanished;
  const answered = input.kind === 'polled' && input.asked > 0;
  const asNow: PolledFleet = { vanished, present };
  const asPolled = (phase.kind === 'asking' && phase.poll) || asNow;
  const overdue = answered ? Math.round((input.overdue / input.asked) * asPolled.present) : 0;
  // A node that vanished since the poll was overdue in it. One that departed is not counted as vanished.
  const alsoGone = overdue - Math.max(0, vanished - asPolled.vanished);
  const gone = vanished + Math.min(Math.max(0, alsoGone), present);
  if (isMassLoss(gone, nodes - gone, limits)) return becomeUncertain(state, gone, now, limits);
  const tellAsCertain = () => {
    const dueMs = [...open.values()].map(({ dueAtMs }) => dueAtMs);
    return settle(state, [], [...recent, ...dueMs].slice(-MAX_RECENT));
  };
  // Few losses; or no present node is left to poll; or all nodes together are fewer than the count.
  if (answered || present === 0 || nodes < limits.count) return tellAsCertain();

  const deadlineMs = phase.kind === 'asking' ? phase.deadlineMs : nowMs + ASKING_MS;
  if (input.kind === 'full' || (input.kind === 'tick' && nowMs >= deadlineMs)) {
    // A store that does not answer may be what failed: only the number of the losses decides.
    return vanished >= limits.count ? becomeUncertain(state, vanished, now, limits) : tellAsCertain();
  }
  const pending = phase.kind === 'asking' && input.kind !== 'polled' ? phase.poll : null;
  const pollAtMs = state.polledAtMs + POLL_GAP_MS;
  const poll = pending === null && nowMs >= pollAtMs;
  return {
    state: {
      ...state,
      phase: { kind: 'asking', deadlineMs, poll: poll ? asNow : pending },
      polledAtMs: poll ? nowMs : state.polledAtMs,
    },
    telling: null,
    poll,
    wakeAtMs: poll || pending !== null ? deadlineMs : Math.min(deadlineMs, pollAtMs),
  };
}

/**
 * Tells a mass loss from a crash, because a store that fails for a moment ends the leases of healthy nodes. A loss waits,
 * 500 ms at most, until the store was asked how many other nodes are overdue. Few: it is certain. Many: `uncertain` is
 * sent first, and every loss is uncertain until the nodes had a TTL to return; then `certain` is sent.
 *
 * Pure, but for the fates of the losses that end with the step: all copies of a loss share its fate.
 */
export function judgeLosses(
  state: VerdictState,
  input: VerdictInput,
  now: VerdictTime,
  limits: MassLossLimits,
): VerdictStep {
  let taken = state;
  if (input.kind === 'changes' || input.kind === 'snapshot') taken = takeChanges(state, input, now.monotonicMs);
  if (input.kind === 'past') taken = takePast(state, input, now.monotonicMs);
  if (taken.phase.kind === 'uncertain') return judgeUncertainty(taken, taken.phase, input, now, limits);
  // A replay knows that they were many.
  const isPastMassLoss = input.kind === 'past' && taken.open.size > state.open.size;
  if (isPastMassLoss) return becomeUncertain(taken, taken.open.size, now, limits);
  return judgeOpenLosses(taken, input, now, limits);
}
