import type { LeaseCounts } from '../../http/agent-report.ts';
import { Backoff } from '../../lib/backoff.ts';
import { formatDuration } from '../../lib/duration.ts';
import { describeError } from '../../lib/errors.ts';
import { DEPARTURE_CAUSES, type DepartureCause, type NodeRecord } from '../../record/record.ts';
import type { Hold, RegisterOutcome, RenewOutcome, WriteOutcome } from '../../store/store.ts';

/** Why a node that is told to leave leaves: for what was announced to it, else because somebody stopped the agent. */
export function departureCause({ interruption }: NodeRecord): DepartureCause {
  // A rebalance recommendation is none of the causes: it takes no node away.
  return DEPARTURE_CAUSES.find((cause) => cause === interruption?.kind) ?? 'stopped';
}

/** What to do next, and why, in words that an operator may read in `/v1/self`. */
export type Step =
  | { readonly action: 'register'; readonly takeover: boolean; readonly reason: string }
  | { readonly action: 'renew' | 'renew-retention' | 'update' | 'depart'; readonly reason: string }
  /** Nothing to do before `untilMs`, unless the desired record changes or the agent is told to stop. */
  | { readonly action: 'wait'; readonly untilMs: number; readonly reason: string }
  | { readonly action: 'done'; readonly reason: string };

/** What the publisher wants the store to say of this node. */
export interface Desired {
  readonly record: NodeRecord;
  /** The record encoded: two equal records have equal text. */
  readonly json: string;
}

/** Where a session stands with its seat. Every instant is on the monotonic clock. */
export interface PublisherState {
  /**
   * - `unregistered`: never had the seat. - `held`: has it. - `lost`: had it; the lease is gone, or has to be presumed gone.
   * - `superseded`, `departed`: at the end; nothing more is written.
   */
  readonly phase: 'unregistered' | 'held' | 'lost' | 'superseded' | 'departed';
  /** The newest seat this session took; kept when lost, because a departure still needs it. */
  readonly hold: Hold | null;
  /** When the newest beat that the store confirmed was *sent*: its lease lives at least a TTL from then. */
  readonly beatAtMs: number;
  readonly nextBeatAtMs: number;
  readonly nextRetentionBeatAtMs: number;
  /** What the store has of us, as encoded text; null when unknown. */
  readonly publishedJson: string | null;
  /** After a failure: no call before this instant. */
  readonly retryAtMs: number;
  readonly backoff: Backoff;
  /** null while calls succeed. */
  readonly lastError: string | null;
  /** What failed with `lastError`; only its own success, or a new registration, ends the trouble. */
  readonly failedAction: Step['action'] | null;
  readonly supersededBy: string | null;
  /** Who was found in the seat, started later than we, when we first asked for it; null where nobody was. */
  readonly contestedBy: string | null;
  readonly ttlMs: number;
  readonly counts: LeaseCounts;
}

export function initialPublisherState(ttlMs: number): PublisherState {
  return {
    phase: 'unregistered',
    hold: null,
    beatAtMs: Number.NEGATIVE_INFINITY,
    nextBeatAtMs: 0,
    nextRetentionBeatAtMs: 0,
    publishedJson: null,
    retryAtMs: Number.NEGATIVE_INFINITY,
    // The ceiling derives from the TTL: after an outage every node is back well within one TTL of the store's return.
    backoff: new Backoff(Math.min(250, ttlMs / 12), ttlMs / 6),
    lastError: null,
    failedAction: null,
    supersededBy: null,
    contestedBy: null,
    ttlMs,
    counts: { registrations: 0, losses: 0, beats: 0, failedBeats: 0, recordWrites: 0, storeErrors: 0 },
  };
}

export interface PlanInput {
  /** null until the instance id is known. */
  readonly desired: Desired | null;
  /** The agent is to say goodbye and end. */
  readonly leaving: boolean;
  readonly ttlMs: number;
}

/**
 * The publisher's next step; pure. Beats go before updates: a late update is a late update, a late beat is a false death.
 * @param nowMs on the monotonic clock
 */
export function plan(state: PublisherState, nowMs: number, input: PlanInput): Step {
  const { desired, leaving, ttlMs } = input;
  const patienceMs = nowMs + ttlMs / 3;
  if (state.phase === 'superseded') {
    return { action: 'done', reason: `session ${state.supersededBy} took the seat of this node` };
  }
  if (state.phase === 'departed') return { action: 'done', reason: 'departed' };
  if (leaving) {
    if (!state.hold) return { action: 'done', reason: 'left before it was registered' };
    // Only a departure that failed has to wait: the pause after a failed beat says nothing about the store now.
    if (nowMs < state.retryAtMs && state.failedAction === 'depart') return waitToRetry(state, patienceMs);
    return { action: 'depart', reason: `leaving: ${desired ? departureCause(desired.record) : 'stopped'}` };
  }
  if (!desired) return { action: 'wait', untilMs: patienceMs, reason: 'the instance id is not known yet' };
  if (nowMs < state.retryAtMs) return waitToRetry(state, patienceMs);
  if (state.phase === 'unregistered') return { action: 'register', takeover: true, reason: 'not registered yet' };
  if (state.phase === 'lost') return { action: 'register', takeover: false, reason: 'the presence lease was lost' };
  if (leaseOverdue(state, nowMs)) {
    const silentMs = nowMs - state.beatAtMs;
    const reason = `no confirmed beat for ${formatDuration(silentMs)}: the presence lease is presumed lost`;
    return { action: 'register', takeover: false, reason };
  }
  if (nowMs >= state.nextBeatAtMs) return { action: 'renew', reason: 'a beat is due' };
  const retentionDue = nowMs >= state.nextRetentionBeatAtMs;
  // Before the update, since one that is refused stays due; after it, where the retention beat is what fails.
  const first = retentionDue && state.failedAction !== 'renew-retention';
  if (desired.json !== state.publishedJson && !first) return { action: 'update', reason: 'the record changed' };
  if (retentionDue) return { action: 'renew-retention', reason: 'a retention beat is due' };
  const untilMs = Math.min(state.nextBeatAtMs, state.nextRetentionBeatAtMs, patienceMs);
  return { action: 'wait', untilMs, reason: 'registered, nothing to write' };
}

/** True once the store may have ended the presence lease without our hearing of it. */
export function leaseOverdue(state: PublisherState, nowMs: number): boolean {
  return state.hold !== null && nowMs >= state.beatAtMs + state.hold.ttlMs;
}

/** Never longer than `patienceMs`: a loop that makes no step is taken for a stuck one. */
function waitToRetry(state: PublisherState, patienceMs: number): Step {
  const untilMs = Math.min(state.retryAtMs, patienceMs);
  return { action: 'wait', untilMs, reason: `retrying: ${state.lastError ?? 'the last call failed'}` };
}

/** A call that the store answered, with what it takes to judge the answer. */
export interface Answered {
  readonly step: Step;
  readonly outcome: RegisterOutcome | RenewOutcome | WriteOutcome;
  /** Monotonic instants at which the call was sent and answered. */
  readonly sentAtMs: number;
  readonly nowMs: number;
  /** The encoded record that the call carried; null when it carried none. */
  readonly json: string | null;
  /** Evenly distributed in [0, 1): spreads the beats of a fleet that started at one moment. */
  readonly random: number;
}

/** The publisher's state after an answer of the store; pure. */
export function settle(state: PublisherState, answered: Answered): PublisherState {
  const { step, outcome, sentAtMs, nowMs, json, random } = answered;
  // A beat that succeeds says nothing of a write that was refused: a full or read-only store still takes beats.
  const over = state.failedAction === step.action || outcome.kind === 'registered';
  const calm: PublisherState = over ? { ...state, ...untroubled(state) } : state;
  switch (outcome.kind) {
    case 'superseded':
      if (state.phase === 'unregistered' && state.contestedBy !== outcome.by)
        return contested(state, outcome.by, nowMs);
      return { ...calm, phase: 'superseded', supersededBy: outcome.by };
    case 'lost':
      // Only a departure can end here without anything left to do: record and presence belong to nobody we know.
      if (step.action === 'depart') return { ...calm, phase: 'departed' };
      return { ...calm, phase: 'lost', counts: count(state, { losses: 1 }) };
    case 'registered': {
      const losses = state.phase === 'held' && leaseOverdue(state, nowMs) ? 1 : 0;
      const counts = count(state, { registrations: 1, recordWrites: 1, losses });
      const { hold } = outcome;
      return {
        ...calm,
        phase: 'held',
        hold,
        beatAtMs: sentAtMs,
        nextBeatAtMs: sentAtMs + beatIntervalMs(hold.ttlMs, random),
        nextRetentionBeatAtMs: sentAtMs + retentionBeatIntervalMs(hold.seat.retentionMs, random),
        publishedJson: json,
        counts,
      };
    }
    case 'renewed': {
      const hold = state.hold;
      if (!hold) return calm;
      if (step.action === 'renew-retention') {
        return { ...calm, nextRetentionBeatAtMs: sentAtMs + retentionBeatIntervalMs(hold.seat.retentionMs, random) };
      }
      const nextBeatAtMs = sentAtMs + beatIntervalMs(hold.ttlMs, random);
      return { ...calm, beatAtMs: sentAtMs, nextBeatAtMs, counts: count(state, { beats: 1 }) };
    }
    case 'written': {
      const counts = count(state, { recordWrites: 1 });
      return { ...calm, phase: step.action === 'depart' ? 'departed' : state.phase, publishedJson: json, counts };
    }
  }
}

/** The state after a call that failed: nothing is known about the seat, only that the next call has to wait. */
export function settleFailure(
  state: PublisherState,
  step: Step,
  error: unknown,
  nowMs: number,
  random: number,
): PublisherState {
  const failedBeats = step.action === 'renew' ? 1 : 0;
  return {
    ...state,
    lastError: describeError(error),
    failedAction: step.action,
    // The update may have happened: only a write that is answered tells what the store has.
    publishedJson: step.action === 'update' ? null : state.publishedJson,
    retryAtMs: nowMs + state.backoff.delayMs(random),
    backoff: state.backoff.next(),
    counts: count(state, { storeErrors: 1, failedBeats }),
  };
}

/**
 * Before its first registration an agent that finds a later start in the seat waits for a TTL: a clock that was set
 * back makes every earlier agent look later, but a dead one's presence ends by then. A living one is there still.
 */
function contested(state: PublisherState, by: string, nowMs: number): PublisherState {
  const lastError = `session ${by}, which started later, has the seat of this node`;
  return { ...state, contestedBy: by, lastError, failedAction: 'register', retryAtMs: nowMs + state.ttlMs * 1.1 };
}

function untroubled(state: PublisherState): Partial<PublisherState> {
  return { backoff: state.backoff.reset(), retryAtMs: Number.NEGATIVE_INFINITY, lastError: null, failedAction: null };
}

/** TTL/3, up to a tenth of it early. */
function beatIntervalMs(ttlMs: number, random: number): number {
  return (ttlMs / 3) * (1 - random / 10);
}

/** A twelfth of the retention: a lost node's last record stays for at least eleven twelfths of it. */
function retentionBeatIntervalMs(retentionMs: number, random: number): number {
  return (retentionMs / 12) * (1 - random / 10);
}

function count(state: PublisherState, more: Partial<LeaseCounts>): LeaseCounts {
  const counts: Record<keyof LeaseCounts, number> = { ...state.counts };
  for (const [name, by] of Object.entries(more) as [keyof LeaseCounts, number][]) counts[name] += by;
  return counts;
}
