import type { ContainerInstance } from '../ecs/container-instance.ts';
import type { Described } from '../ecs/ecs-api.ts';
import { isRefusal } from '../ecs/is-refusal.ts';
import { isThrottled } from '../ecs/is-throttled.ts';
import { describeError } from '../errors.ts';
import { Backoff } from '../timing/backoff.ts';
import type { AttributesStep } from './attributes-step.ts';
import { isOthers } from './wanted-attributes.ts';

/** A flapping node writes once in this time: what it is then, not what it was meanwhile. */
export const WRITE_GAP_MS = 60_000;
/** At the latest; half of it at the earliest, so that a fleet that started at once spreads: 10,000 nodes are one a second. */
export const LOOK_AGAIN_MS = 6 * 3_600_000;

/** What is believed of the attributes in ECS. Instants are on the monotonic clock. */
export interface AttributesState {
  /** The container instance that the rest is about; null before the first look. */
  readonly arn: string | null;
  /** What ECS has, by name; null: has to be looked at. */
  readonly believed: ReadonlyMap<string, string | null> | null;
  /** How many of them somebody else put there. */
  readonly others: number;
  readonly lookAgainAtMs: number;
  readonly nextWriteAtMs: number;
  /** What was written last, for people; null: nothing yet. */
  readonly lastWrite: string | null;
  readonly retryAtMs: number;
  readonly backoff: Backoff;
  /** null while calls succeed. */
  readonly lastError: string | null;
  readonly saidGoodbye: boolean;
}

const RETRY = new Backoff(5_000, 300_000);
/** Somebody has to change a policy first. */
const REFUSED = new Backoff(300_000, 1_800_000);
/**
 * A whole account has 20 looks a second, and 40 writes, which RunTask and StopTask are counted against too: 10,000 nodes
 * that come again within 10 minutes are 17 a second.
 * https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
 */
const THROTTLED = new Backoff(600_000, 600_000);

export const initialAttributesState: AttributesState = {
  arn: null,
  believed: null,
  others: 0,
  lookAgainAtMs: Number.NEGATIVE_INFINITY,
  nextWriteAtMs: Number.NEGATIVE_INFINITY,
  lastWrite: null,
  retryAtMs: Number.NEGATIVE_INFINITY,
  backoff: RETRY,
  lastError: null,
  saidGoodbye: false,
};

type Asked = Exclude<AttributesStep, { readonly action: 'wait' | 'done' }>;

/**
 * The state after a step that ECS carried out; pure.
 * @param described the answer to `describe` @param random evenly distributed in [0, 1)
 */
export function settleAttributes(
  state: AttributesState,
  step: Asked,
  described: Described | null,
  nowMs: number,
  random: number,
): AttributesState {
  const before = state.arn === step.target.arn ? state : initialAttributesState;
  const calm = {
    ...before,
    arn: step.target.arn,
    lastError: null,
    retryAtMs: Number.NEGATIVE_INFINITY,
    backoff: RETRY,
  };
  if (step.action === 'describe') {
    const lookAgainAtMs = nowMs + LOOK_AGAIN_MS * (1 - random / 2);
    const instance = described?.instances.find(({ containerInstanceArn }) => containerInstanceArn === step.target.arn);
    return { ...calm, believed: attributesOf(instance), others: othersOf(instance), lookAgainAtMs };
  }
  const believed = new Map(before.believed);
  if (step.action === 'delete') {
    // Nothing is gained by a pause between the two halves of one change.
    for (const name of step.names) believed.delete(name);
    return { ...calm, believed, lastWrite: `deleted ${step.names.join(', ')}` };
  }
  for (const { name, value } of step.attributes) believed.set(name, value);
  const lastWrite = step.attributes.map(({ name, value }) => (value === null ? name : `${name}=${value}`)).join(', ');
  const saidGoodbye = step.reason === 'leaving';
  return { ...calm, believed, lastWrite, saidGoodbye, nextWriteAtMs: nowMs + WRITE_GAP_MS };
}

/** The state after a call that failed; pure. What it was to write may be there by now, or not. */
export function settleAttributesFailure(
  state: AttributesState,
  step: Asked,
  error: unknown,
  nowMs: number,
  random: number,
): AttributesState {
  const before = state.arn === step.target.arn ? state : initialAttributesState;
  const refused = isRefusal(error);
  const first = refused ? REFUSED : isThrottled(error) ? THROTTLED : RETRY;
  const backoff = before.backoff.baseMs === first.baseMs ? before.backoff : first;
  // Never at once where somebody has to do something first.
  const delayMs = backoff.delayMs(refused ? (1 + random) / 2 : random);
  return {
    ...before,
    arn: step.target.arn,
    believed: null,
    lastError: describeError(error),
    retryAtMs: nowMs + delayMs,
    backoff: backoff.next(),
    saidGoodbye: step.reason === 'leaving',
  };
}

function attributesOf(instance: ContainerInstance | undefined): ReadonlyMap<string, string | null> {
  return new Map((instance?.attributes ?? []).map(({ name, value }) => [name, value === '' ? null : value]));
}

function othersOf(instance: ContainerInstance | undefined): number {
  return (instance?.attributes ?? []).filter(isOthers).length;
}
