import type { Logger } from 'pino';
import type { Described, EcsApi } from '../../ecs/ecs-api.ts';
import { EcsError } from '../../ecs/errors.ts';
import { type Cell, sleepUnlessChanged } from '../../lib/cell.ts';
import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import type { NodeRecord } from '../../record/record.ts';
import type { DrainSlots } from '../../store/store.ts';
import { type CauseVerdict, type DrainConfig, type HealthWatch, judgeCause, watchHealth } from './cause.ts';
import {
  beginDrain,
  type DrainAnswer,
  type DrainCall,
  type DrainState,
  type DrainStep,
  forgetCause,
  initialDrainState,
  planDrain,
  settleDrain,
  settleDrainFailure,
} from './plan.ts';

interface DrainLog {
  step(step: DrainStep): void;
  /** Around a call. */
  outcome(before: DrainState, after: DrainState): void;
}

/** One line when the drain's state changes, one when it waits for another reason, one when calls begin to fail. */
export function createDrainLog(log: Logger): DrainLog {
  let last: { readonly phase: string; readonly reason: string } = { phase: 'idle', reason: '' };
  return {
    step({ action, phase, reason }) {
      if (action === 'drain') log.warn(`drain: asking ECS to drain this node: ${reason}`);
      if (action === 'activate') log.info(`drain: asking ECS to make this node active again: ${reason}`);
      // The steps on the way are not worth a line; where it comes to rest is.
      if (action !== 'wait') return;
      const news = phase !== last.phase || (phase === 'waiting' && reason !== last.reason);
      last = { phase, reason };
      if (!news) return;
      if (phase === 'idle') log.info(`drain: over: ${reason}`);
      else log.warn(`drain: ${phase}: ${reason}`);
    },
    outcome({ lastError: before }, { lastError: after }) {
      if (after !== null && after !== before) log.warn(`drain: ${after}`);
    },
  };
}

export interface DrainOptions {
  readonly config: DrainConfig;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly session: string;
  readonly slots: DrainSlots;
  /** @param arn of a container instance: its region is the one to ask, unless another was said */
  readonly ecs: (arn: string) => Promise<EcsApi>;
  readonly record: () => NodeRecord | null;
  /** All notices were read at least once. */
  readonly noticesKnown: () => boolean;
  /** Set whenever the record changes. */
  readonly changes: Pick<Cell<unknown>, 'onChange'>;
  readonly leaving: Cell<boolean>;
  readonly onStep: (step: DrainStep) => void;
}

/** With the SDK's own retries, each of which has a limit of its own. */
const CALL_LIMIT_MS = 60_000;
const NO_CAUSE: CauseVerdict = { kind: 'undecided', reason: 'the instance id is not known yet', untilMs: Infinity };

/** Drains this node while there is a cause, as far as there is a slot. A failure is never an end, and never anybody's but its own. */
export async function runDrain(options: DrainOptions, signal: AbortSignal): Promise<never> {
  const { config, clock, random, leaving, changes } = options;
  const log = createDrainLog(options.log);
  let health: HealthWatch | null = null;
  const observe = () => {
    const record = options.record();
    if (record) health = watchHealth(health, record.health.status, clock.monotonicMs());
  };
  observe();
  // Not only when this loop gets to it: a node that was well for a moment during a long call was not critical all along.
  const stopObserving = changes.onChange(observe);
  let state: DrainState = initialDrainState;
  try {
    for (;;) {
      signal.throwIfAborted();
      const nowMs = clock.monotonicMs();
      const record = options.record();
      const times = { nowMs, wallMs: clock.wallMs(), noticesKnown: options.noticesKnown() };
      const cause = record && health ? judgeCause(config, { record, health, ...times }) : NO_CAUSE;
      state = forgetCause(state, cause);
      const step = planDrain(state, nowMs, { node: record && nodeOf(record), cause, leaving: leaving.get() });
      options.onStep(step);
      log.step(step);
      if (step.action === 'wait') {
        await sleepUnlessChanged(clock, step.untilMs - clock.monotonicMs(), [changes, leaving], signal);
        continue;
      }
      const before = state;
      state = beginDrain(state, step);
      try {
        const answer = await withDeadline(clock, CALL_LIMIT_MS, signal, `drain: ${step.action}`, (callSignal) =>
          carryOut(options, step, callSignal),
        );
        state = settleDrain(state, answer, clock.monotonicMs(), random());
      } catch (error) {
        signal.throwIfAborted();
        state = settleDrainFailure(state, step, error, clock.monotonicMs(), random());
      }
      log.outcome(before, state);
    }
  } finally {
    stopObserving();
  }
}

function nodeOf({ ec2InstanceId, containerInstanceArn, cluster }: NodeRecord) {
  return { instanceId: ec2InstanceId, arn: containerInstanceArn, cluster };
}

async function carryOut(options: DrainOptions, step: DrainCall, signal: AbortSignal): Promise<DrainAnswer> {
  const { slots, clock, session, config } = options;
  switch (step.action) {
    case 'read-claim':
      return { action: step.action, claim: await slots.read(step.instanceId, signal) };
    case 'take': {
      const since = new Date(clock.wallMs()).toISOString();
      const claim = { phase: 'claimed' as const, ...step.place, reason: step.cause, since, session };
      const request = { instanceId: step.instanceId, claim, maxSharePercent: config.maxSharePercent };
      return { action: step.action, outcome: await slots.take(request, signal) };
    }
    case 'mark':
      return {
        action: step.action,
        claim: await slots.replace(step.held, { ...step.held.claim, phase: step.as }, signal),
      };
    case 'renew':
      return { action: step.action, held: step.held, alive: await slots.renew(step.held, signal) };
    case 'give-back':
      await slots.giveBack(step.held, signal);
      return { action: step.action, leaveAlone: step.leaveAlone ?? null, reason: step.reason };
    case 'describe':
    case 'drain':
    case 'activate':
      return { action: step.action, arn: step.place.arn, described: await askEcs(options, step, signal) };
  }
}

async function askEcs(
  options: DrainOptions,
  {
    action,
    place,
  }: Extract<DrainCall, { readonly place: unknown; readonly action: 'describe' | 'drain' | 'activate' }>,
  signal: AbortSignal,
): Promise<Described> {
  const { arn, cluster } = place;
  const ecs = await options.ecs(arn);
  if (action === 'describe') return ecs.describeContainerInstances(cluster, [arn], signal);
  const status = action === 'drain' ? 'DRAINING' : 'ACTIVE';
  const answer = await ecs.updateContainerInstancesState(cluster, [arn], status, signal);
  const [failure] = answer.failures;
  if (failure) {
    const message = `ecs:UpdateContainerInstancesState: ${status}: ${failure.reason}`;
    throw new EcsError(message, { code: failure.reason, retryable: false });
  }
  return answer;
}
