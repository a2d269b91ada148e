import type { Logger } from 'pino';
import { type Cell, sleepUnlessChanged } from '../../lib/cell.ts';
import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import { encodeRecord } from '../../record/codec.ts';
import type { NodeRecord } from '../../record/record.ts';
import type { Hold, RegisterOutcome, RenewOutcome, Seat, Store, WriteOutcome } from '../../store/store.ts';
import {
  type Desired,
  departureCause,
  initialPublisherState,
  type PlanInput,
  type PublisherState,
  plan,
  type Step,
  settle,
  settleFailure,
} from './plan.ts';

/** What the publisher needs; it owns none of it. */
export interface PublisherOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly session: string;
  readonly ttlMs: number;
  readonly retentionMs: number;
  readonly desired: Cell<Desired | null>;
  readonly leaving: Cell<boolean>;
  /** Called before and after each call of the store, and at each wait: proof that the loop moves. */
  readonly onStep: (step: Step, state: PublisherState) => void;
}

/** No call of the store may hold the loop for longer, nor for so long that a hung beat costs the lease. */
const MAX_CALL_MS = 5_000;

/**
 * Carries out what `plan` says until there is nothing left to do: the node has departed or was superseded.
 * A store that cannot be reached is not an end: it retries for as long as `signal` lets it.
 * @returns the last state, with phase `departed`, `superseded`, or `unregistered` when it left before it was registered
 */
export async function runPublisher(options: PublisherOptions, signal: AbortSignal): Promise<PublisherState> {
  const { clock, random, desired, leaving, onStep } = options;
  let state = initialPublisherState(options.ttlMs);
  let farewell: Desired | null = null;
  for (;;) {
    signal.throwIfAborted();
    const input: PlanInput = { desired: desired.get(), leaving: leaving.get(), ttlMs: options.ttlMs };
    const step = plan(state, clock.monotonicMs(), input);
    onStep(step, state);
    if (step.action === 'done') return state;
    if (step.action === 'wait') {
      await sleepUnlessChanged(clock, step.untilMs - clock.monotonicMs(), [desired, leaving], signal);
      continue;
    }
    // Sent again it must be the same to the letter, or one departure would be two events.
    if (step.action === 'depart') farewell ??= departureOf(input, clock);
    const sent = step.action === 'depart' ? farewell : carriedRecord(step, input);
    const sentAtMs = clock.monotonicMs();
    try {
      const outcome = await interruptible(options, step, signal, (callSignal) =>
        call(options, state.hold, step, sent, callSignal),
      );
      state = settle(state, {
        step,
        outcome,
        sentAtMs,
        nowMs: clock.monotonicMs(),
        json: sent?.json ?? null,
        random: random(),
      });
    } catch (error) {
      signal.throwIfAborted();
      // A call that was cut short because the agent is leaving did not fail; the departure must not wait for a backoff.
      if (leaving.get() && step.action !== 'depart') continue;
      state = settleFailure(state, step, error, clock.monotonicMs(), random());
    }
    onStep(step, state);
  }
}

function carriedRecord(step: Step, input: PlanInput): Desired | null {
  return step.action === 'register' || step.action === 'update' ? input.desired : null;
}

/** The record as it is when the node leaves, with the cause. */
function departureOf({ desired }: PlanInput, clock: Clock): Desired | null {
  if (!desired) return null;
  const at = new Date(clock.wallMs()).toISOString();
  const record = { ...desired.record, departure: { cause: departureCause(desired.record), at } };
  return { record, json: encodeRecord(record) };
}

function call(
  options: PublisherOptions,
  hold: Hold | null,
  step: Step,
  sent: Desired | null,
  signal: AbortSignal,
): Promise<RegisterOutcome | RenewOutcome | WriteOutcome> {
  const { store } = options;
  if (step.action === 'register' && sent) {
    return store.register(seatOf(options, sent.record), sent.record, { takeover: step.takeover, signal });
  }
  if (hold && step.action === 'renew') return store.renew(hold, signal);
  if (hold && step.action === 'renew-retention') return store.renewRetention(hold, signal);
  if (hold && sent && step.action === 'update') return store.update(hold, sent.record, signal);
  if (hold && sent && step.action === 'depart') return store.depart(hold, sent.record, signal);
  throw new Error(`the plan asked for ${step.action} without what it takes`);
}

function seatOf(options: PublisherOptions, record: NodeRecord): Seat {
  const { session, ttlMs, retentionMs } = options;
  return { instanceId: record.ec2InstanceId, session, since: record.registeredAt, ttlMs, retentionMs };
}

/**
 * Runs a call with a deadline. A beat or an update ends as soon as the agent is told to leave; a registration does not,
 * because one that happened unheard would leave a presence behind that only its TTL ends.
 */
async function interruptible<T>(
  options: PublisherOptions,
  step: Step,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { clock, leaving } = options;
  const cut = new AbortController();
  const stop = () => cut.abort(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  const stopListening = leaving.onChange(() => {
    if (step.action !== 'depart' && step.action !== 'register') cut.abort(new Error('the agent is leaving'));
  });
  try {
    return await withDeadline(clock, Math.min(MAX_CALL_MS, options.ttlMs / 3), cut.signal, step.action, work);
  } finally {
    stopListening();
    signal.removeEventListener('abort', stop);
  }
}

/**
 * Turns the publisher's steps into few log lines: what changed, once, never each retry. An outage of an hour is two
 * lines, one when it began and one when it ended.
 */
export function createPublishLog(log: Logger): (step: Step, state: PublisherState) => void {
  let last: PublisherState | null = null;
  return (step, state) => {
    const before = last;
    last = state;
    if (!before || before === state) return;
    const { counts } = state;
    if (state.lastError !== null && before.lastError === null) {
      log.warn({ action: step.action }, `cannot ${step.action}: ${state.lastError}; retrying`);
    }
    if (state.lastError === null && before.lastError !== null) log.info('the store answers again');
    if (counts.losses > before.counts.losses) log.warn('the presence lease was lost; registering again');
    if (counts.registrations > before.counts.registrations) {
      const ttlSeconds = (state.hold?.ttlMs ?? 0) / 1_000;
      log.info({ ttlSeconds }, `registered ${state.hold?.seat.instanceId}: ${step.reason}`);
    } else if (counts.recordWrites > before.counts.recordWrites && state.phase === 'held') {
      log.info('the record changed and was written');
    }
    if (state.phase === 'superseded' && before.phase !== 'superseded') {
      log.error(`superseded: session ${state.supersededBy} took the seat of this node; this agent ends`);
    }
    if (state.phase === 'departed' && before.phase !== 'departed') log.info(`departed: ${step.reason}`);
  };
}
