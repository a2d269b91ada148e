import type { Attribute, ContainerInstance, Described } from '../../ecs/ecs-api.ts';
import { isRefusal, isThrottled } from '../../ecs/errors.ts';
import { Backoff } from '../../lib/backoff.ts';
import { describeError } from '../../lib/errors.ts';
import type { NodeRecord } from '../../record/record.ts';

/** The container instance that is written to. */
export interface Target {
  readonly cluster: string;
  readonly arn: string;
}

export type AttributesStep =
  | { readonly action: 'wait'; readonly untilMs: number; readonly reason: string }
  | { readonly action: 'describe'; readonly target: Target; readonly reason: string }
  | {
      readonly action: 'put';
      readonly target: Target;
      readonly attributes: readonly Attribute[];
      readonly reason: string;
    }
  | { readonly action: 'delete'; readonly target: Target; readonly names: readonly string[]; readonly reason: string }
  /** Left, and said so; nothing is written any more. */
  | { readonly action: 'done'; readonly reason: string };

/** All that rollcall puts on a container instance, and so all that it ever deletes, begins with this. */
export const OWN_PREFIX = 'rollcall.';
export const HEALTH_ATTRIBUTE = 'rollcall.health';
/** What `rollcall.health` says of a node whose agent said goodbye. */
export const DEPARTED = 'departed';

/**
 * Custom attributes on one container instance, whoever put them there:
 * https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PutAttributes.html (AttributeLimitExceededException)
 */
const MAX_CUSTOM = 10;
/** https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Attribute.html */
const NAME = /^[A-Za-z0-9_.\-/]{1,128}$/;
const VALUE = /^(?! )[A-Za-z0-9 ._\-/\\@:]{1,128}(?<! )$/;

export interface WantedAttributes {
  /** In the order of their importance. */
  readonly attributes: readonly Attribute[];
  /** One line each, for a person: what ECS cannot have, and why. */
  readonly leftOut: readonly string[];
}

/**
 * What ECS should have on this node's container instance; pure.
 * @param others how many custom attributes somebody else put there: all share ECS's limit
 */
export function wantedAttributes(record: NodeRecord, leaving: boolean, others: number): WantedAttributes {
  const all: Attribute[] = [{ name: HEALTH_ATTRIBUTE, value: leaving ? DEPARTED : record.health.status }];
  if (record.machineId !== null) all.push({ name: `${OWN_PREFIX}machine-id`, value: record.machineId });
  const leftOut: string[] = [];
  for (const key of Object.keys(record.labels).sort()) {
    const value = record.labels[key] ?? '';
    const attribute = { name: `${OWN_PREFIX}label.${key}`, value: value === '' ? null : value };
    if (expressible(attribute)) all.push(attribute);
    else leftOut.push(`label ${key}: ECS takes letters, digits, spaces within and . _ - / \\ @ : alone`);
  }
  const room = Math.max(1, MAX_CUSTOM - others);
  for (const { name } of all.slice(room)) {
    leftOut.push(`${name}: ECS has at most ${MAX_CUSTOM} attributes on an instance, ${others} of them not rollcall's`);
  }
  return { attributes: all.slice(0, room), leftOut };
}

/** An attribute that neither ECS itself nor rollcall put there. */
export function isOthers({ name }: Attribute): boolean {
  return !/^(ecs|com\.amazonaws)\./.test(name) && !name.startsWith(OWN_PREFIX);
}

function expressible({ name, value }: Attribute): boolean {
  return NAME.test(name) && (value === null || VALUE.test(value));
}

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

const PATIENCE_MS = 3_600_000;

export interface AttributesInput {
  /** null until the instance id is known. */
  readonly record: NodeRecord | null;
  readonly leaving: boolean;
  /** No first look before this instant, on the monotonic clock: what is written follows a look. */
  readonly firstLookAtMs: number;
}

/** The next step towards having in ECS what the record says; pure. @param nowMs on the monotonic clock */
export function planAttributes(state: AttributesState, nowMs: number, input: AttributesInput): AttributesStep {
  const { record, leaving, firstLookAtMs } = input;
  const known = record?.containerInstanceArn && record.cluster;
  if (!record || !known) {
    if (leaving) return { action: 'done', reason: 'left before ecs-agent was registered' };
    return { action: 'wait', untilMs: nowMs + PATIENCE_MS, reason: 'ecs-agent has not registered this node yet' };
  }
  const target = { cluster: known, arn: record.containerInstanceArn ?? '' };
  const ours = state.arn === target.arn ? state : null;
  // Who leaves has no time to look first, nor to try again.
  if (leaving) return farewell(state, ours, target, record);
  if (ours && nowMs < ours.retryAtMs) {
    return { action: 'wait', untilMs: ours.retryAtMs, reason: `retrying: ${ours.lastError ?? 'the last call failed'}` };
  }
  if (nowMs < firstLookAtMs) {
    return { action: 'wait', untilMs: firstLookAtMs, reason: 'agents that started together do not ask ECS together' };
  }
  if (!ours?.believed) return { action: 'describe', target, reason: 'not known what ECS has' };
  // Somebody may have deleted one by hand.
  if (nowMs >= ours.lookAgainAtMs) return { action: 'describe', target, reason: 'last looked hours ago' };
  const wanted = wantedAttributes(record, false, ours.others).attributes;
  const superfluous = [...ours.believed.keys()].filter(
    (name) => name.startsWith(OWN_PREFIX) && !wanted.some((each) => each.name === name),
  );
  const differing = differences(ours.believed, wanted);
  if (superfluous.length + differing.length === 0) {
    return { action: 'wait', untilMs: ours.lookAgainAtMs, reason: 'ECS has what it should' };
  }
  if (nowMs < ours.nextWriteAtMs) {
    return { action: 'wait', untilMs: ours.nextWriteAtMs, reason: 'changed again within a minute' };
  }
  // First, for ECS counts all against one limit.
  if (superfluous.length > 0) {
    return { action: 'delete', target, names: superfluous.slice(0, 10), reason: 'no longer wanted' };
  }
  return { action: 'put', target, attributes: differing, reason: ours.lastWrite ? 'changed' : 'not there yet' };
}

function farewell(
  state: AttributesState,
  ours: AttributesState | null,
  target: Target,
  record: NodeRecord,
): AttributesStep {
  const [health] = wantedAttributes(record, true, 0).attributes;
  if (!health || state.saidGoodbye) return { action: 'done', reason: 'said goodbye' };
  // Where a look found nothing of ours, nothing has to be taken back; who has not looked yet cannot know.
  if (ours && ours.lastWrite === null && !ours.believed?.has(health.name))
    return { action: 'done', reason: 'nothing was written' };
  return { action: 'put', target, attributes: [health], reason: 'leaving' };
}

function differences(believed: ReadonlyMap<string, string | null>, wanted: readonly Attribute[]): readonly Attribute[] {
  return wanted.filter(({ name, value }) => !believed.has(name) || believed.get(name) !== value);
}
