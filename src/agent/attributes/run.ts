import type { Logger } from 'pino';
import type { EcsApi } from '../../ecs/ecs-api.ts';
import { EcsError } from '../../ecs/errors.ts';
import { type Cell, sleepUnlessChanged } from '../../lib/cell.ts';
import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import type { NodeRecord } from '../../record/record.ts';
import {
  type AttributesState,
  type AttributesStep,
  initialAttributesState,
  planAttributes,
  settleAttributes,
  settleAttributesFailure,
  wantedAttributes,
} from './plan.ts';

export interface AttributesOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** @param arn of a container instance: its region is the one to ask, unless another was said */
  readonly ecs: (arn: string) => Promise<EcsApi>;
  /** The first look is made at any time within it: a fleet may have started at once. */
  readonly spreadMs: number;
  readonly record: () => NodeRecord | null;
  /** Anything that may call for another step. */
  readonly changes: readonly Pick<Cell<unknown>, 'onChange'>[];
  readonly leaving: Cell<boolean>;
  readonly onStep: (step: AttributesStep, state: AttributesState) => void;
}

/** With the SDK's own retries, each of which has a limit of its own. */
const CALL_LIMIT_MS = 60_000;
/** A node that leaves has 2 s for all. */
const FAREWELL_LIMIT_MS = 1_500;

/**
 * Keeps the attributes in ECS as the record has them, until it is told to leave and has said so. A failure is never an
 * end, and never anybody's but its own.
 */
export async function runAttributes(options: AttributesOptions, signal: AbortSignal): Promise<void> {
  const { clock, random, log, leaving, changes } = options;
  const firstLookAtMs = clock.monotonicMs() + random() * options.spreadMs;
  let state = initialAttributesState;
  let told = '';
  for (;;) {
    signal.throwIfAborted();
    const record = options.record();
    const step = planAttributes(state, clock.monotonicMs(), { record, leaving: leaving.get(), firstLookAtMs });
    options.onStep(step, state);
    if (step.action === 'done') return;
    if (step.action === 'wait') {
      await sleepUnlessChanged(clock, step.untilMs - clock.monotonicMs(), [...changes, leaving], signal);
      continue;
    }
    const before = state;
    try {
      const described = await untilLeaving(options, signal, (cutSignal, limitMs) =>
        withDeadline(clock, limitMs, cutSignal, `ECS attributes: ${step.action}`, (callSignal) =>
          carryOut(options, step, callSignal),
        ),
      );
      state = settleAttributes(state, step, described, clock.monotonicMs(), random());
    } catch (error) {
      signal.throwIfAborted();
      // Cut short in order to leave: the goodbye is all that is left to say.
      if (leaving.get() && step.reason !== 'leaving') continue;
      state = settleAttributesFailure(state, step, error, clock.monotonicMs(), random());
    }
    logOutcome(log, before, state);
    const leftOut = record && state.believed ? wantedAttributes(record, false, state.others).leftOut.join('; ') : told;
    if (leftOut !== told && leftOut !== '') log.warn(`ECS attributes: left out: ${leftOut}`);
    told = leftOut;
  }
}

/** Runs a call that ends as soon as the agent is told to leave; one that begins later has little time. */
async function untilLeaving<T>(
  { leaving }: AttributesOptions,
  signal: AbortSignal,
  work: (signal: AbortSignal, limitMs: number) => Promise<T>,
): Promise<T> {
  if (leaving.get()) return work(signal, FAREWELL_LIMIT_MS);
  const cut = new AbortController();
  const onAbort = () => cut.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const stopListening = leaving.onChange(() => cut.abort(new Error('the agent is leaving')));
  try {
    return await work(cut.signal, CALL_LIMIT_MS);
  } finally {
    stopListening();
    signal.removeEventListener('abort', onAbort);
  }
}

async function carryOut(options: AttributesOptions, step: AttributesStep, signal: AbortSignal) {
  if (step.action === 'wait' || step.action === 'done') return null;
  const { cluster, arn } = step.target;
  const ecs = await options.ecs(arn);
  if (step.action === 'put') await ecs.putAttributes(cluster, arn, step.attributes, signal);
  if (step.action === 'delete') await ecs.deleteAttributes(cluster, arn, step.names, signal);
  if (step.action !== 'describe') return null;
  const described = await ecs.describeContainerInstances(cluster, [arn], signal);
  if (described.instances.length > 0) return described;
  const reason = described.failures[0]?.reason ?? 'MISSING';
  // Registered a moment ago, it may not be everywhere yet.
  throw new EcsError(`ecs:DescribeContainerInstances: ${arn}: ${reason}`, { code: reason, retryable: true });
}

/** One line when it begins to fail, or fails for another reason, and one when it works again. */
function logOutcome(log: Logger, before: AttributesState, after: AttributesState): void {
  if (after.lastError !== null && after.lastError !== before.lastError) log.warn(`ECS attributes: ${after.lastError}`);
  if (after.lastError === null && before.lastError !== null) log.info('ECS attributes: ECS answers again');
  if (after.lastWrite !== null && after.lastWrite !== before.lastWrite) {
    log.info(`ECS attributes: ${after.lastWrite}`);
  }
}
