import { describeError } from '../errors.ts';
import type { RegisterOutcome, RenewOutcome, WriteOutcome } from '../store/store.ts';
import { leaseOverdue } from './plan.ts';
import type { LeaseCounts, PublisherState } from './publisher-state.ts';
import type { Step } from './step.ts';

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
