import { abortable, untilAborted } from '../../lib/abort.ts';
import { type Cell, createCell } from '../../lib/cell.ts';
import type { Clock } from '../../lib/clock.ts';
import { type ControlLoop, runLoop } from '../../lib/control-loop.ts';
import type { Log } from '../../lib/log.ts';
import { runGroup } from '../../lib/run-group.ts';
import type { DepartureCause, NodeRecord } from '../../record/record.ts';
import type { Hold, Store } from '../../store/store.ts';
import {
  type Answers,
  apply,
  applyFailure,
  type Desired,
  departureCause,
  type HoldEnd,
  initialPublisherState,
  type PublisherState,
  plan,
  type Step,
} from './publisher-plan.ts';
import { watchedOf, watchHolds } from './watch-registration.ts';

/** What the publisher needs; it owns none of it. */
interface PublisherOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly session: string;
  readonly ttlMs: number;
  readonly retentionMs: number;
  readonly desired: Cell<Desired | null>;
  readonly leaving: Cell<boolean>;
  /** Called once, before the first registration, with the node's last record; null: there is none. May set `desired`. */
  readonly onLastRecord?: (record: NodeRecord | null) => void;
  /** Asked once `leaving` is true: whether the agent will be started again. Default: it will not. */
  readonly restarting?: (() => boolean) | undefined;
  /** Called before and after each call of the store, and at each wait: the loop makes progress. */
  readonly onStep: (step: Step, state: PublisherState) => void;
}

/** No call of the store may hold the loop for longer, nor for so long that a hung heartbeat costs the lease. */
const MAX_CALL_MS = 5_000;

/** An agent that leaves waits for the answer to a registration for so long, and then ends what may be registered. */
const REGISTRATION_LIMIT_MS = 1_200;

/**
 * Carries out what `plan` says until there is nothing left to do: the node has departed or was superseded.
 * A store that cannot be reached is not an end: it retries for as long as `signal` lets it.
 * @returns the last state, with phase `departed`, `superseded`, or `unregistered` when it left before it was registered
 */
export function runPublisher(options: PublisherOptions, signal: AbortSignal): Promise<PublisherState> {
  const { store, clock, random, session, ttlMs, retentionMs, desired, leaving, onLastRecord, onStep } = options;
  const restarting = () => options.restarting?.() ?? false;
  let departure: NodeRecord | null = null;
  let unanswered: Hold | null = null;
  const initial = initialPublisherState(ttlMs, onLastRecord === undefined);
  const watched = createCell(watchedOf(initial));
  const ended = createCell<HoldEnd | null>(null);
  const leavingForLong = createCell(false);
  const loop: ControlLoop<PublisherState, Step, Answers> = {
    clock,
    random,
    initial,
    plan(state, nowMs) {
      const input = { desired: desired.get(), leaving: leaving.get(), ended: ended.get(), wallMs: clock.wallMs() };
      return plan(state, nowMs, { ...input, unanswered, restarting: restarting() });
    },
    actions: {
      async recall({ instanceId }, callSignal) {
        const { entry } = await store.readOne(instanceId, callSignal);
        onLastRecord?.(entry?.record ?? null);
      },
      register({ takeover, desired: { record } }, callSignal) {
        const times = { since: record.registeredAt, ttlMs, retentionMs };
        const registration = { instanceId: record.ec2InstanceId, session, ...times };
        const onSent = (hold: Hold | null) => {
          unanswered = hold;
        };
        return store.register(registration, record, { takeover, signal: callSignal, onSent });
      },
      'count-nodes': ({ instanceId }, callSignal) => store.otherNodes(instanceId, callSignal),
      renew: ({ hold }, callSignal) => store.renew(hold, callSignal),
      'renew-retention': ({ hold }, callSignal) => store.renewRetention(hold, callSignal),
      update: ({ hold, desired: { record } }, callSignal) => store.update(hold, record, callSignal),
      depart({ hold, desired: { record } }, callSignal) {
        // Sent again it must be the same to the letter, or one departure would be two events.
        departure ??= withDeparture(record, departureCause(record, restarting(), clock.wallMs()), clock);
        return store.depart(hold, departure, callSignal);
      },
      hear: async ({ end }) => end.outcome,
    },
    apply,
    applyFailure,
    limitMs: () => Math.min(MAX_CALL_MS, ttlMs / 3),
    wakeUps: [desired, leaving, ended, leavingForLong],
    // A registration only after a while: its answer says whether there is something to end.
    yields: (call) =>
      call.action !== 'depart' &&
      (call.action !== 'register' || leavingForLong.get()) &&
      (leaving.get() || ('hold' in call && ended.get()?.hold === call.hold)),
    onStep(step, state) {
      const now = watchedOf(state);
      const before = watched.get();
      if (now.hold !== before.hold || now.answering !== before.answering) watched.set(now);
      onStep(step, state);
    },
  };
  return runGroup<PublisherState>(
    [
      (groupSignal) => runLoop(loop, groupSignal),
      (groupSignal) => watchHolds({ store, clock, random, ttlMs, watched, ended }, groupSignal),
      async (groupSignal) => {
        await untilLeaving(leaving, groupSignal);
        await clock.sleep(REGISTRATION_LIMIT_MS, groupSignal);
        leavingForLong.set(true);
        return untilAborted(groupSignal);
      },
    ],
    signal,
  );
}

/** Resolves when the agent is to leave. */
export async function untilLeaving(
  leaving: Pick<Cell<boolean>, 'get' | 'onChange'>,
  signal: AbortSignal,
): Promise<void> {
  const begun = new Promise<void>((resolve) => {
    if (leaving.get()) resolve();
    leaving.onChange(resolve);
  });
  await abortable(begun, signal);
}

/** The record as it is when the node leaves, with the cause. */
function withDeparture(record: NodeRecord, cause: DepartureCause, clock: Clock): NodeRecord {
  return { ...record, departure: { cause, at: new Date(clock.wallMs()).toISOString() } };
}

/** What the agent cannot do, in the log. */
const ACTION_TEXTS: Readonly<Record<keyof Answers, string>> = {
  recall: 'read the last record of this node',
  register: 'register',
  'count-nodes': 'count the nodes',
  renew: 'send a heartbeat',
  'renew-retention': 'renew the retention lease',
  update: 'write the record',
  depart: 'deregister',
  hear: 'watch the registration',
};

/**
 * Turns the publisher's steps into few log lines: what changed, once, never each retry. An outage of an hour is two
 * lines, one when it began and one when it ended.
 */
export function createPublishLog(log: Log): (step: Step, state: PublisherState) => void {
  let last: PublisherState | null = null;
  return (step, state) => {
    const before = last;
    last = state;
    if (!before || before === state) return;
    const { counts, trouble } = state;
    if (trouble.error !== null && before.trouble.error === null) {
      const action = trouble.action ?? 'register';
      log.warn({ action }, `cannot ${ACTION_TEXTS[action]}: ${trouble.error}; retrying`);
    }
    if (trouble.error === null && before.trouble.error !== null) log.info('the store answers again');
    if (counts.losses > before.counts.losses) log.warn('the registration was lost; registering again');
    if (counts.registrations > before.counts.registrations) {
      const ttlSeconds = (state.hold?.ttlMs ?? 0) / 1_000;
      log.info({ ttlSeconds }, `registered ${state.hold?.registration.instanceId}: ${step.reason}`);
    } else if (counts.recordWrites > before.counts.recordWrites && state.phase === 'held') {
      log.info('the record changed and was written');
    }
    if (state.phase === 'superseded' && before.phase !== 'superseded') {
      log.error(`superseded: session ${state.supersededBy} registered this node; this agent ends`);
    }
    if (state.phase === 'departed' && before.phase !== 'departed') log.info(`departed: ${step.reason}`);
  };
}
