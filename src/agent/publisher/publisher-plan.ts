import type { LeaseCounts } from '../../http/agent-report.ts';
import { Backoff } from '../../lib/backoff.ts';
import {
  type Apply,
  type Call,
  type CallEnd,
  type Done,
  noTrouble,
  retryReason,
  type Trouble,
  type Wait,
  withoutError,
} from '../../lib/control-loop.ts';
import { formatDuration } from '../../lib/duration.ts';
import { DEPARTURE_CAUSES, type DepartureCause, type NodeRecord } from '../../record/record.ts';
import type { Hold, NotHeld, RegisterOutcome, RenewOutcome, WriteOutcome } from '../../store/store.ts';
import { noticeDueInMs } from '../notice-due.ts';
import { afterAnswer, pausedAfter, returnSpreadMs } from './pace.ts';

/**
 * The cause of a departure: what EC2 announced for this node, if it concerns it by now, else whether the agent is restarted
 * or stopped. Pure.
 * @param wallMs on the node's clock
 */
export function departureCause(record: NodeRecord, restarting: boolean, wallMs: number): DepartureCause {
  const announced = noticeDueInMs(record, wallMs) <= 0 ? record.interruption?.kind : undefined;
  return DEPARTURE_CAUSES.find((cause) => cause === announced) ?? (restarting ? 'restart' : 'stopped');
}

/** What to do next, and why, in words that an operator may read in `/v1/self`. */
export type Step =
  /** Reads the node's last record, once, before the first registration replaces it. */
  | (Why & { readonly action: 'recall'; readonly instanceId: string })
  /** `takeover` is false where this session asks only for what it had before. */
  | (Why & { readonly action: 'register'; readonly desired: Desired; readonly takeover: boolean })
  /** After an outage, before the registration: how many others register, too. */
  | (Why & { readonly action: 'count-nodes'; readonly instanceId: string })
  | (Why & { readonly action: 'renew'; readonly hold: Hold })
  | (Why & { readonly action: 'renew-retention'; readonly hold: Hold })
  | (Why & { readonly action: 'update'; readonly hold: Hold; readonly desired: Desired })
  | (Why & { readonly action: 'depart'; readonly hold: Hold; readonly desired: Desired })
  /** Takes in what the watch of the own keys reported; no call of the store. */
  | (Why & { readonly action: 'hear'; readonly end: HoldEnd })
  | Wait
  | Done;

type Why = { readonly reason: string };

export interface Answers {
  readonly recall: undefined;
  readonly register: RegisterOutcome;
  /** About how many other nodes there are. */
  readonly 'count-nodes': number;
  readonly renew: RenewOutcome;
  readonly 'renew-retention': RenewOutcome;
  readonly update: WriteOutcome;
  readonly depart: WriteOutcome;
  readonly hear: NotHeld;
}

/** What the watch of the own keys reported of a registration. */
export interface HoldEnd {
  readonly hold: Hold;
  readonly outcome: NotHeld;
}

/** What the publisher wants the store to say of this node. */
export interface Desired {
  readonly record: NodeRecord;
  /** The record encoded: two equal records have equal text. */
  readonly json: string;
}

/** The state of a session's registration. Every instant is on the monotonic clock. */
export interface PublisherState {
  /**
   * - `unregistered`: was never registered. - `held`: is registered. - `lost`: was registered; the lease is gone, or has to
   *   be presumed gone. - `superseded`, `departed`: at the end; nothing more is written.
   */
  readonly phase: 'unregistered' | 'held' | 'lost' | 'superseded' | 'departed';
  /** The newest registration of this session; kept when lost, because a departure still needs it. */
  readonly hold: Hold | null;
  /** The node's last record was read, or is not wanted. */
  readonly recalled: boolean;
  /** When the newest heartbeat that the store confirmed was *sent*: its lease lives at least a TTL from then. */
  readonly heartbeatAtMs: number;
  readonly nextHeartbeatAtMs: number;
  readonly nextRetentionRenewalAtMs: number;
  /** No registration before that; null: it depends on how many other nodes there are. */
  readonly registerAtMs: number | null;
  /** What the store has of this node, as encoded text; null when unknown. */
  readonly publishedJson: string | null;
  /** Only the success of the call that failed, or a new registration, ends it. */
  readonly trouble: Trouble<Call<Step>['action']>;
  /** When the store last said that the registration was removed, and the pause after the next removal if it follows soon. */
  readonly removed: { readonly atMs: number; readonly backoff: Backoff };
  readonly supersededBy: string | null;
  /** The session, started later than this one, that was registered when this one first asked; null: there was none. */
  readonly contestedBy: string | null;
  readonly ttlMs: number;
  readonly counts: LeaseCounts;
}

/** @param recalled false: the node's last record is read before the first registration */
export function initialPublisherState(ttlMs: number, recalled = true): PublisherState {
  return {
    recalled,
    phase: 'unregistered',
    hold: null,
    heartbeatAtMs: Number.NEGATIVE_INFINITY,
    nextHeartbeatAtMs: 0,
    nextRetentionRenewalAtMs: 0,
    registerAtMs: Number.NEGATIVE_INFINITY,
    publishedJson: null,
    trouble: noTrouble(new Backoff(Math.min(250, ttlMs / 12), ttlMs)),
    removed: { atMs: Number.NEGATIVE_INFINITY, backoff: new Backoff(Math.min(250, ttlMs / 12), ttlMs / 6) },
    supersededBy: null,
    contestedBy: null,
    ttlMs,
    counts: { registrations: 0, losses: 0, beats: 0, failedBeats: 0, recordWrites: 0, storeErrors: 0 },
  };
}

export interface PlanInput {
  /** null until the instance id is known. */
  readonly desired: Desired | null;
  /** The agent is to deregister and end. */
  readonly leaving: boolean;
  /** A registration that was sent, and may have been carried out although no answer came; null: none. Default: null. */
  readonly unanswered?: Hold | null;
  /** The agent will be started again after it has ended. Default: false. */
  readonly restarting?: boolean;
  /** The newest that the watch reported; it may be about an earlier registration. */
  readonly ended: HoldEnd | null;
  /** The node's clock, which decides whether a notice is the cause of a departure. */
  readonly wallMs: number;
}

/**
 * The publisher's next step; pure. Heartbeats go before registrations and these before updates: a late update is a late
 * update, a late heartbeat is a false death.
 * @param nowMs on the monotonic clock
 */
export function plan(
  state: PublisherState,
  nowMs: number,
  { desired, leaving, ended: end, unanswered = null, restarting = false, wallMs }: PlanInput,
): Step {
  const { phase, hold, trouble } = state;
  // Never longer: a loop that makes no step is taken for a stuck one.
  const longestWaitMs = nowMs + state.ttlMs / 3;
  const retryLater: Step = {
    action: 'wait',
    untilMs: Math.min(trouble.retryAtMs, longestWaitMs),
    reason: retryReason(trouble),
  };
  if (phase === 'superseded') return { action: 'done', reason: `session ${state.supersededBy} registered this node` };
  if (phase === 'departed') return { action: 'done', reason: 'departed' };
  if (leaving) {
    // Of a lost one nothing is left to be carried out late; of the registration after it there may be.
    const last = phase === 'held' ? hold : (unanswered ?? hold);
    if (!last || !desired) return { action: 'done', reason: 'left before it was registered' };
    // Only a departure that failed has to wait: the pause after a failed heartbeat says nothing about the store now.
    if (nowMs < trouble.retryAtMs && trouble.action === 'depart') return retryLater;
    return { action: 'depart', hold: last, desired, reason: departureCause(desired.record, restarting, wallMs) };
  }
  if (end && phase === 'held' && end.hold === hold) {
    return { action: 'hear', end, reason: 'the registration has ended in the store' };
  }
  if (!desired) return { action: 'wait', untilMs: longestWaitMs, reason: 'the instance id is not known yet' };
  const isPausing = nowMs < trouble.retryAtMs;
  if (!hold || phase === 'lost') return isPausing ? retryLater : planRegistration(state, nowMs, desired);
  if (leaseOverdue(state, nowMs) || nowMs >= state.nextHeartbeatAtMs) {
    // A write that is refused does not hold up a heartbeat.
    if (isPausing && trouble.action === 'renew') return retryLater;
    // An etcd that comes back starts all leases again: only where one is gone there is something to write.
    const reason = leaseOverdue(state, nowMs)
      ? `no confirmed heartbeat for ${formatDuration(nowMs - state.heartbeatAtMs)}: asking whether the presence lease still exists`
      : 'a heartbeat is due';
    return { action: 'renew', hold, reason };
  }
  if (isPausing) return { ...retryLater, untilMs: Math.min(retryLater.untilMs, state.nextHeartbeatAtMs) };
  const retentionDue = nowMs >= state.nextRetentionRenewalAtMs;
  // Before the update, since one that is refused stays due; after it, where the renewal is what fails.
  const retentionFirst = retentionDue && trouble.action !== 'renew-retention';
  if (desired.json !== state.publishedJson && !retentionFirst) {
    return { action: 'update', hold, desired, reason: 'the record changed' };
  }
  if (retentionDue) return { action: 'renew-retention', hold, reason: 'a renewal of the retention lease is due' };
  const untilMs = Math.min(state.nextHeartbeatAtMs, state.nextRetentionRenewalAtMs, longestWaitMs);
  return { action: 'wait', untilMs, reason: 'registered, nothing to write' };
}

function planRegistration(state: PublisherState, nowMs: number, desired: Desired): Step {
  const { ec2InstanceId: instanceId } = desired.record;
  if (!state.hold) {
    if (!state.recalled) return { action: 'recall', instanceId, reason: 'reading the last record of this node' };
    return { action: 'register', desired, takeover: true, reason: 'the agent started' };
  }
  const reason = 'the registration was lost';
  if (state.registerAtMs === null) return { action: 'count-nodes', instanceId, reason };
  if (nowMs >= state.registerAtMs) return { action: 'register', desired, takeover: false, reason };
  const untilMs = Math.min(state.registerAtMs, nowMs + state.ttlMs / 3);
  return { action: 'wait', untilMs, reason: `${reason}; others register first` };
}

/** True once the store may have ended the presence lease without this agent hearing of it. */
export function leaseOverdue({ hold, heartbeatAtMs }: PublisherState, nowMs: number): boolean {
  return hold !== null && nowMs >= heartbeatAtMs + hold.ttlMs;
}

/** The publisher's state after each answer of the store; pure. */
export const apply: Apply<PublisherState, Step, Answers> = {
  recall(state, { action }) {
    return { ...afterAnswer(state, action), recalled: true };
  },
  register(state, { action, desired }, outcome, end) {
    const { sentAtMs, nowMs, random } = end;
    if (outcome.kind === 'superseded') {
      const first = state.phase === 'unregistered' && state.contestedBy !== outcome.by;
      return first ? contested(state, outcome.by, nowMs) : ended(afterAnswer(state, action), outcome, state, end);
    }
    const { hold } = outcome;
    return {
      ...state,
      trouble: { ...withoutError(state.trouble), backoff: state.trouble.backoff.previous() },
      phase: 'held',
      hold,
      heartbeatAtMs: sentAtMs,
      nextHeartbeatAtMs: sentAtMs + heartbeatIntervalMs(hold, random),
      nextRetentionRenewalAtMs: sentAtMs + retentionRenewalIntervalMs(hold, random),
      publishedJson: desired.json,
      counts: count(state, { registrations: 1, recordWrites: 1 }),
    };
  },
  'count-nodes'(before, { action }, otherNodes, { nowMs, random }) {
    const state = afterAnswer(before, action);
    return { ...state, registerAtMs: nowMs + returnSpreadMs(otherNodes, state.ttlMs) * random };
  },
  renew(before, { action, hold }, outcome, end) {
    const { sentAtMs, random } = end;
    const state = afterAnswer(before, action);
    if (outcome.kind !== 'renewed') return ended(state, outcome, before, end);
    const nextHeartbeatAtMs = sentAtMs + heartbeatIntervalMs(hold, random);
    return { ...state, heartbeatAtMs: sentAtMs, nextHeartbeatAtMs, counts: count(state, { beats: 1 }) };
  },
  'renew-retention'(before, { action, hold }, outcome, end) {
    const state = afterAnswer(before, action);
    if (outcome.kind !== 'renewed') return ended(state, outcome, before, end);
    return { ...state, nextRetentionRenewalAtMs: end.sentAtMs + retentionRenewalIntervalMs(hold, end.random) };
  },
  update(before, { action, desired }, outcome, end) {
    const state = afterAnswer(before, action);
    if (outcome.kind !== 'written') return ended(state, outcome, before, end);
    return { ...state, publishedJson: desired.json, counts: count(state, { recordWrites: 1 }) };
  },
  depart(before, { action }, outcome, end) {
    const state = afterAnswer(before, action);
    if (outcome.kind === 'superseded') return ended(state, outcome, before, end);
    // `lost`: record and presence belong to no session that is known here, so nothing is left to do.
    if (outcome.kind === 'lost') return { ...state, phase: 'departed' };
    return { ...state, phase: 'departed', counts: count(state, { recordWrites: 1 }) };
  },
  hear(state, _, outcome, end) {
    return ended(state, outcome, state, end);
  },
};

/** The state after a call that failed; pure. Nothing is known about the registration: the next call has to wait. */
export function applyFailure(
  before: PublisherState,
  { action }: Call<Step>,
  error: unknown,
  end: CallEnd,
): PublisherState {
  const state = pausedAfter(before, action, error, end, !leaseOverdue(before, end.nowMs));
  return {
    ...state,
    // Without the count it registers after the pause.
    registerAtMs: action === 'count-nodes' ? Number.NEGATIVE_INFINITY : state.registerAtMs,
    // The update may have happened: only a write that is answered tells what the store has.
    publishedJson: action === 'update' ? null : state.publishedJson,
    counts: count(state, { storeErrors: 1, failedBeats: action === 'renew' ? 1 : 0 }),
  };
}

/** @param before the state before the call that found it out */
function ended(
  state: PublisherState,
  outcome: NotHeld,
  before: PublisherState,
  { nowMs, random }: CallEnd,
): PublisherState {
  if (outcome.kind === 'superseded') return { ...state, phase: 'superseded', supersededBy: outcome.by };
  // After an outage of a TTL and more all nodes have lost their registrations, and must not all register at once.
  const wasOutage = before.trouble.error !== null && leaseOverdue(before, nowMs);
  const registerAtMs = wasOutage ? null : Number.NEGATIVE_INFINITY;
  // The store has just spoken: a pause that an earlier failure asked for is over. Back at once, but not again and again:
  // what removes the registration each time it appears must not make this agent write at the speed of the network.
  const { atMs, backoff } = state.removed;
  const again = nowMs - atMs < state.ttlMs / 3;
  const trouble: PublisherState['trouble'] = again
    ? {
        ...state.trouble,
        error: 'something removed the registration again',
        action: 'register',
        retryAtMs: nowMs + backoff.delayMs(random),
      }
    : { ...state.trouble, retryAtMs: Number.NEGATIVE_INFINITY };
  const removed = { atMs: nowMs, backoff: again ? backoff.next() : backoff.reset() };
  return { ...state, phase: 'lost', trouble, removed, registerAtMs, counts: count(state, { losses: 1 }) };
}

/**
 * Before its first registration an agent that finds a session with a later start waits for a TTL: a clock that was set
 * back makes every earlier agent look later, but a dead one's presence ends by then. A living one is there still.
 */
function contested(state: PublisherState, by: string, nowMs: number): PublisherState {
  const error = `session ${by}, which started later, has registered this node`;
  const trouble = { ...state.trouble, error, action: 'register' as const, retryAtMs: nowMs + state.ttlMs * 1.1 };
  return { ...state, contestedBy: by, trouble };
}

/** TTL/3, up to a tenth of it early. */
function heartbeatIntervalMs({ ttlMs }: Hold, random: number): number {
  return (ttlMs / 3) * (1 - random / 10);
}

/** A twelfth of the retention: a lost node's last record stays for at least eleven twelfths of it. */
function retentionRenewalIntervalMs({ registration }: Hold, random: number): number {
  return (registration.retentionMs / 12) * (1 - random / 10);
}

function count(state: PublisherState, more: Partial<LeaseCounts>): LeaseCounts {
  const counts: Record<keyof LeaseCounts, number> = { ...state.counts };
  for (const name in more) counts[name as keyof LeaseCounts] += more[name as keyof LeaseCounts] ?? 0;
  return counts;
}
