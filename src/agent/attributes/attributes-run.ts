import type { Described, EcsApi } from '../../ecs/ecs-api.ts';
import { EcsError } from '../../ecs/ecs-errors.ts';
import type { Cell } from '../../lib/cell.ts';
import type { Clock } from '../../lib/clock.ts';
import { runLoop } from '../../lib/control-loop.ts';
import type { Log } from '../../lib/log.ts';
import type { NodeRecord } from '../../record/record.ts';
import {
  type AttributesAnswers,
  type AttributesState,
  type AttributesStep,
  applyAttributes,
  applyAttributesFailure,
  initialAttributesState,
  planAttributes,
  type Target,
  wantedAttributes,
} from './attributes-plan.ts';

interface AttributesOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** @param arn of a container instance: its region is the one to ask, unless another was configured */
  readonly ecs: (arn: string) => Promise<EcsApi>;
  /** The first read is made at any time within it: a fleet may have started at once. */
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
const DEREGISTER_LIMIT_MS = 1_500;

/** Keeps the attributes in ECS as the record has them, until the agent leaves and has deregistered. A failure does not end it. */
export async function runAttributes(options: AttributesOptions, signal: AbortSignal): Promise<void> {
  const { clock, random, leaving, changes } = options;
  const firstReadAtMs = clock.monotonicMs() + random() * options.spreadMs;
  const log = createAttributesLog(options);
  const put = async (
    { target: { cluster, arn }, attributes }: Extract<AttributesStep, { attributes: unknown }>,
    callSignal: AbortSignal,
  ) => (await options.ecs(arn)).putAttributes(cluster, arn, attributes, callSignal);
  await runLoop<AttributesState, AttributesStep, AttributesAnswers>(
    {
      clock,
      random,
      initial: initialAttributesState,
      plan: (state, nowMs) =>
        planAttributes(state, nowMs, { record: options.record(), leaving: leaving.get(), firstReadAtMs }),
      actions: {
        describe: async ({ target }, callSignal) => describe(await options.ecs(target.arn), target, callSignal),
        put,
        delete: async ({ target: { cluster, arn }, names }, callSignal) =>
          (await options.ecs(arn)).deleteAttributes(cluster, arn, names, callSignal),
        deregister: put,
      },
      apply: applyAttributes,
      applyFailure: applyAttributesFailure,
      limitMs: ({ action }) => (action === 'deregister' ? DEREGISTER_LIMIT_MS : CALL_LIMIT_MS),
      wakeUps: [...changes, leaving],
      yields: ({ action }) => leaving.get() && action !== 'deregister',
      onStep(step, state) {
        options.onStep(step, state);
        log(state);
      },
    },
    signal,
  );
}

async function describe(ecs: EcsApi, { cluster, arn }: Target, signal: AbortSignal): Promise<Described> {
  const described = await ecs.describeContainerInstances(cluster, [arn], signal);
  if (described.instances.length > 0) return described;
  const reason = described.failures[0]?.reason ?? 'MISSING';
  // Registered a moment ago, it may not be everywhere yet.
  throw new EcsError(`ecs:DescribeContainerInstances: ${arn}: ${reason}`, { code: reason, retryable: true });
}

/** One line when calls begin to fail, or fail for another reason; one when they succeed again; one for each write. */
function createAttributesLog({ log, record }: AttributesOptions): (state: AttributesState) => void {
  let before = initialAttributesState;
  let leftOutBefore = '';
  return (state) => {
    if (state === before) return;
    const [last, error] = [before.trouble.error, state.trouble.error];
    if (error !== null && error !== last) log.warn(`ECS attributes: ${error}`);
    if (error === null && last !== null) log.info('ECS attributes: ECS answers again');
    if (state.lastWrite !== null && state.lastWrite !== before.lastWrite) {
      log.info(`ECS attributes: ${state.lastWrite}`);
    }
    before = state;
    const now = record();
    if (!now || !state.inEcs) return;
    const leftOut = wantedAttributes(now, false, state.others).leftOut.join('; ');
    if (leftOut !== leftOutBefore && leftOut !== '') log.warn(`ECS attributes: left out: ${leftOut}`);
    leftOutBefore = leftOut;
  };
}
