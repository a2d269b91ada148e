import type { Described, EcsApi } from '../../ecs/ecs-api.ts';
import { EcsError } from '../../ecs/ecs-errors.ts';
import type { Cell } from '../../lib/cell.ts';
import type { Clock } from '../../lib/clock.ts';
import { runLoop } from '../../lib/control-loop.ts';
import type { Log } from '../../lib/log.ts';
import type { NodeRecord } from '../../record/record.ts';
import { type DrainSlots, overruled } from '../../store/drain-slots.ts';
import {
  type CauseVerdict,
  type DrainConfig,
  type HealthWatch,
  judgeCause,
  standingCauses,
  watchHealth,
} from './cause.ts';
import { applyDrain, applyDrainFailure } from './drain-apply.ts';
import { type DrainAnswers, type DrainState, type DrainStep, initialDrainState, planDrain } from './drain-plan.ts';

interface DrainOptions {
  readonly config: DrainConfig;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly session: string;
  readonly slots: DrainSlots;
  /** @param arn of a container instance: its region is the one to ask, unless another was configured */
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

/** Drains this node while there is a cause, as far as there is a slot, until `signal` aborts. A failure is no end. */
export async function runDrain(options: DrainOptions, signal: AbortSignal): Promise<void> {
  const { config, clock, random, leaving, changes, slots, session } = options;
  const log = createDrainLog(options.log);
  let health: HealthWatch | null = null;
  const observe = () => {
    const record = options.record();
    if (record) health = watchHealth(health, record.health.status, clock.monotonicMs());
  };
  observe();
  // Not only between two steps: a node that was well for a moment during a long call was not critical all along.
  const stopObserving = changes.onChange(observe);
  const causeOf = (record: NodeRecord, nowMs: number): CauseVerdict => {
    const times = { nowMs, wallMs: clock.wallMs(), noticesKnown: options.noticesKnown() };
    return health ? judgeCause(config, { record, health, ...times }) : NO_CAUSE;
  };
  const causesNow = () => {
    const record = options.record();
    return record ? standingCauses(record) : [];
  };
  const ask = (step: EcsCall, callSignal: AbortSignal) => askEcs(options, step, callSignal);
  try {
    await runLoop<DrainState, DrainStep, DrainAnswers>(
      {
        clock,
        random,
        initial: initialDrainState,
        plan(state, nowMs) {
          const record = options.record();
          const cause = record ? causeOf(record, nowMs) : NO_CAUSE;
          return planDrain(state, nowMs, { node: record && nodeOf(record), cause, leaving: leaving.get() });
        },
        actions: {
          'read-claim': ({ instanceId }, callSignal) => slots.read(instanceId, callSignal),
          take({ instanceId, place, cause }, callSignal) {
            const since = new Date(clock.wallMs()).toISOString();
            const claim = { phase: 'claimed' as const, ...place, reason: cause, since, session, causes: causesNow() };
            return slots.take({ instanceId, claim, maxSharePercent: config.maxSharePercent }, callSignal);
          },
          describe: ask,
          drain: ask,
          activate: ask,
          mark({ held, as }, callSignal) {
            const claim = as === 'overruled' ? overruled(held.claim, causesNow()) : { ...held.claim, phase: as };
            return slots.replace(held, claim, callSignal);
          },
          renew: ({ held }, callSignal) => slots.renew(held, callSignal),
          'give-back': ({ held }, callSignal) => slots.giveBack(held, callSignal),
          forget: async () => {},
        },
        apply: applyDrain,
        applyFailure: applyDrainFailure,
        limitMs: () => CALL_LIMIT_MS,
        wakeUps: [changes, leaving],
        onStep(step, state) {
          options.onStep(step);
          log(step, state);
        },
      },
      signal,
    );
  } finally {
    stopObserving();
  }
}

function nodeOf({ ec2InstanceId, containerInstanceArn, cluster }: NodeRecord) {
  return { instanceId: ec2InstanceId, arn: containerInstanceArn, cluster };
}

type EcsCall = Extract<DrainStep, { readonly action: 'describe' | 'drain' | 'activate' }>;

async function askEcs(
  { ecs: open }: DrainOptions,
  { action, place }: EcsCall,
  signal: AbortSignal,
): Promise<Described> {
  const { arn, cluster } = place;
  const ecs = await open(arn);
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

/** More kinds of error than one outage has. */
const MAX_LOGGED = 20;

/** One line when the drain's state changes, one when it waits for another reason, one when calls begin to fail. */
function createDrainLog(log: Log): (step: DrainStep, state: DrainState) => void {
  let lastStep: DrainStep | null = null;
  let lastState = initialDrainState;
  /** The errors since calls began to fail, but for their numbers: how long each try took is worth no line. */
  const logged = new Set<string>();
  let last: { readonly phase: string; readonly reason: string } = { phase: 'idle', reason: '' };
  const onNext = ({ action, phase, reason }: DrainStep, failing: boolean) => {
    if (action === 'drain') log.warn(`drain: asking ECS to drain this node: ${reason}`);
    if (action === 'activate') log.info(`drain: asking ECS to make this node active again: ${reason}`);
    // The steps on the way are not worth a line; the state that they lead to is.
    if (action !== 'wait') return;
    // While calls fail it waits for the next one; each kind of error has a line.
    if (phase === 'waiting' && failing) return;
    const changed = phase !== last.phase || (phase === 'waiting' && reason !== last.reason);
    last = { phase, reason };
    if (!changed) return;
    if (phase === 'idle') log.info(`drain: over: ${reason}`);
    else log.warn(`drain: ${phase}: ${reason}`);
  };
  return (step, state) => {
    // Called before and after the call of a step.
    if (step !== lastStep) onNext(step, state.trouble.error !== null);
    lastStep = step;
    const { trouble, refusal, standOff } = state;
    if (trouble.error === null && standOff.from === null) logged.clear();
    const kind = trouble.error?.replace(/\d+/g, '#') ?? null;
    if (kind !== null && !logged.has(kind) && logged.size < MAX_LOGGED) {
      logged.add(kind);
      log.warn(`drain: ${trouble.error}`);
    }
    if (refusal.error !== null && refusal.error !== lastState.refusal.error) log.warn(`drain: ${refusal.error}`);
    lastState = state;
  };
}
