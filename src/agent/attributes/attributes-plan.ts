import type { Attribute, ContainerInstance, Described } from '../../ecs/ecs-api.ts';
import { isRefusal, isThrottled } from '../../ecs/ecs-errors.ts';
import { Backoff } from '../../lib/backoff.ts';
import {
  type Apply,
  afterFailure,
  type Call,
  type CallEnd,
  type Done,
  noTrouble,
  retryReason,
  type Trouble,
  type Wait,
} from '../../lib/control-loop.ts';
import type { NodeRecord } from '../../record/record.ts';

/** The container instance that is written to. */
export interface Target {
  readonly cluster: string;
  readonly arn: string;
}

export type AttributesStep =
  | (On & { readonly action: 'describe' })
  | (On & { readonly action: 'put'; readonly attributes: readonly Attribute[] })
  | (On & { readonly action: 'delete'; readonly names: readonly string[] })
  /** The node is leaving: the last write, made once. */
  | (On & { readonly action: 'deregister'; readonly attributes: readonly Attribute[] })
  | Wait
  | Done;

type On = { readonly target: Target; readonly reason: string };

export interface AttributesAnswers {
  readonly describe: Described;
  readonly put: unknown;
  readonly delete: unknown;
  readonly deregister: unknown;
}

/** All that rollcall puts on a container instance, and so all that it ever deletes, begins with this. */
const OWN_PREFIX = 'rollcall.';
const HEALTH_ATTRIBUTE = 'rollcall.health';
/** What `rollcall.health` says of a node whose agent has left. */
const DEPARTED = 'departed';

/**
 * Custom attributes on one container instance, rollcall's and all others:
 * https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PutAttributes.html (AttributeLimitExceededException)
 */
const MAX_CUSTOM = 10;
/** https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Attribute.html */
const NAME = /^[A-Za-z0-9_.\-/]{1,128}$/;
const VALUE = /^(?! )[A-Za-z0-9 ._\-/\\@:]{1,128}(?<! )$/;

interface WantedAttributes {
  /** In the order of their importance. */
  readonly attributes: readonly Attribute[];
  /** One line each, for a person: what ECS cannot have, and why. */
  readonly leftOut: readonly string[];
}

/**
 * What ECS should have on this node's container instance; pure.
 * @param others how many custom attributes are not rollcall's: all share ECS's limit
 */
export function wantedAttributes(record: NodeRecord, leaving: boolean, others: number): WantedAttributes {
  const all: Attribute[] = [{ name: HEALTH_ATTRIBUTE, value: leaving ? DEPARTED : record.health.status }];
  if (record.machineId !== null) all.push({ name: `${OWN_PREFIX}machine-id`, value: record.machineId });
  const leftOut: string[] = [];
  for (const key of Object.keys(record.labels).sort()) {
    const value = record.labels[key] ?? '';
    const attribute = { name: `${OWN_PREFIX}label.${key}`, value: value === '' ? null : value };
    if (expressible(attribute)) all.push(attribute);
    else
      leftOut.push(`label ${key}: ECS accepts only letters, digits, . _ - / \\ @ : and spaces that are not at an end`);
  }
  const room = Math.max(1, MAX_CUSTOM - others);
  for (const { name } of all.slice(room)) {
    leftOut.push(`${name}: ECS allows ${MAX_CUSTOM} attributes on an instance, and ${others} are not rollcall's`);
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
export const READ_AGAIN_MS = 6 * 3_600_000;

/** The reason of a step that has nothing to write. */
export const CURRENT = 'the attributes in ECS are current';

/** What is known of the attributes in ECS. Instants are on the monotonic clock. */
export interface AttributesState {
  /** The container instance that the rest is about; null before the first read. */
  readonly arn: string | null;
  /** What ECS has, by name; null: not known, has to be read. */
  readonly inEcs: ReadonlyMap<string, string | null> | null;
  /** How many of them neither ECS nor rollcall put there. */
  readonly others: number;
  readonly readAgainAtMs: number;
  readonly nextWriteAtMs: number;
  /** What was written last, for people; null: nothing yet. */
  readonly lastWrite: string | null;
  readonly trouble: Trouble<Call<AttributesStep>['action']>;
  /** The deregistration was sent, whatever ECS answered. */
  readonly deregistered: boolean;
}

const RETRY = new Backoff(5_000, 300_000);
/** An operator has to change a policy first. */
const REFUSED = new Backoff(300_000, 1_800_000);
/**
 * A whole account has 20 reads a second, and 40 writes, which RunTask and StopTask are counted against too: 10,000 nodes
 * that come again within 10 minutes are 17 a second.
 * https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
 */
const THROTTLED = new Backoff(600_000, 600_000);

export const initialAttributesState: AttributesState = {
  arn: null,
  inEcs: null,
  others: 0,
  readAgainAtMs: Number.NEGATIVE_INFINITY,
  nextWriteAtMs: Number.NEGATIVE_INFINITY,
  lastWrite: null,
  trouble: noTrouble(RETRY),
  deregistered: false,
};

/** The state after each answer of ECS; pure. */
export const applyAttributes: Apply<AttributesState, AttributesStep, AttributesAnswers> = {
  describe(state, { target }, described, { nowMs, random }) {
    const instance = described.instances.find(({ containerInstanceArn }) => containerInstanceArn === target.arn);
    const readAgainAtMs = nowMs + READ_AGAIN_MS * (1 - random / 2);
    return {
      ...withoutTrouble(state, target),
      inEcs: attributesOf(instance),
      others: othersOf(instance),
      readAgainAtMs,
    };
  },
  put: (state, { target, attributes }, _, { nowMs }) => ({
    ...written(withoutTrouble(state, target), attributes),
    nextWriteAtMs: nowMs + WRITE_GAP_MS,
  }),
  delete(before, { target, names }) {
    const state = withoutTrouble(before, target);
    const inEcs = new Map(state.inEcs);
    // Nothing is gained by a pause between the two halves of one change.
    for (const name of names) inEcs.delete(name);
    return { ...state, inEcs, lastWrite: `deleted ${names.join(', ')}` };
  },
  deregister: (state, { target, attributes }) => ({
    ...written(withoutTrouble(state, target), attributes),
    deregistered: true,
  }),
};

/** The state after a call that failed; pure. What it was to write may be there by now, or not. */
export function applyAttributesFailure(
  before: AttributesState,
  { action, target }: Call<AttributesStep>,
  error: unknown,
  { nowMs, random }: Pick<CallEnd, 'nowMs' | 'random'>,
): AttributesState {
  const state = about(before, target);
  const refused = isRefusal(error);
  const first = refused ? REFUSED : isThrottled(error) ? THROTTLED : RETRY;
  const backoff = state.trouble.backoff.baseMs === first.baseMs ? state.trouble.backoff : first;
  // Never at once where an operator has to do something first.
  const end = { nowMs, random: refused ? (1 + random) / 2 : random };
  const trouble = afterFailure({ ...state.trouble, backoff }, action, error, end);
  return { ...state, inEcs: null, trouble, deregistered: action === 'deregister' };
}

/** Of another container instance nothing is known. */
function about(state: AttributesState, { arn }: Target): AttributesState {
  return state.arn === arn ? state : { ...initialAttributesState, arn };
}

function withoutTrouble(state: AttributesState, target: Target): AttributesState {
  return { ...about(state, target), trouble: noTrouble(RETRY) };
}

function written(state: AttributesState, attributes: readonly Attribute[]): AttributesState {
  const inEcs = new Map(state.inEcs);
  for (const { name, value } of attributes) inEcs.set(name, value);
  const lastWrite = attributes.map(({ name, value }) => (value === null ? name : `${name}=${value}`)).join(', ');
  return { ...state, inEcs, lastWrite };
}

function attributesOf(instance: ContainerInstance | undefined): ReadonlyMap<string, string | null> {
  return new Map((instance?.attributes ?? []).map(({ name, value }) => [name, value === '' ? null : value]));
}

function othersOf(instance: ContainerInstance | undefined): number {
  return (instance?.attributes ?? []).filter(isOthers).length;
}

const LONGEST_WAIT_MS = 3_600_000;

interface AttributesInput {
  /** null until the instance id is known. */
  readonly record: NodeRecord | null;
  readonly leaving: boolean;
  /** No read before this instant, on the monotonic clock, and so no write: a write follows a read. */
  readonly firstReadAtMs: number;
}

/** The next step towards having in ECS what the record says; pure. @param nowMs on the monotonic clock */
export function planAttributes(state: AttributesState, nowMs: number, input: AttributesInput): AttributesStep {
  const { record, leaving, firstReadAtMs } = input;
  if (!record?.containerInstanceArn || !record.cluster) {
    if (leaving) return { action: 'done', reason: 'left before ecs-agent was registered' };
    return { action: 'wait', untilMs: nowMs + LONGEST_WAIT_MS, reason: 'ecs-agent has not registered this node yet' };
  }
  const target = { cluster: record.cluster, arn: record.containerInstanceArn };
  const { inEcs, others, readAgainAtMs, nextWriteAtMs, lastWrite, trouble } = about(state, target);
  // A node that leaves has no time to read first, nor to try again.
  if (leaving) return planLeaving(state, target, record);
  if (nowMs < trouble.retryAtMs) return { action: 'wait', untilMs: trouble.retryAtMs, reason: retryReason(trouble) };
  if (nowMs < firstReadAtMs) {
    return {
      action: 'wait',
      untilMs: firstReadAtMs,
      reason: 'waiting a random time, because agents that start together must not call ECS together',
    };
  }
  if (!inEcs) return { action: 'describe', target, reason: 'the attributes in ECS are not known yet' };
  // An operator may have deleted one by hand.
  if (nowMs >= readAgainAtMs) return { action: 'describe', target, reason: 'last read hours ago' };
  const wanted = wantedAttributes(record, false, others).attributes;
  const superfluous = [...inEcs.keys()].filter(
    (name) => name.startsWith(OWN_PREFIX) && !wanted.some((each) => each.name === name),
  );
  const differing = wanted.filter(({ name, value }) => !inEcs.has(name) || inEcs.get(name) !== value);
  if (superfluous.length + differing.length === 0) {
    return { action: 'wait', untilMs: readAgainAtMs, reason: CURRENT };
  }
  if (nowMs < nextWriteAtMs) {
    return { action: 'wait', untilMs: nextWriteAtMs, reason: 'changed again within a minute' };
  }
  // First, for ECS counts all against one limit.
  if (superfluous.length > 0) {
    return { action: 'delete', target, names: superfluous.slice(0, 10), reason: 'no longer wanted' };
  }
  return { action: 'put', target, attributes: differing, reason: lastWrite ? 'changed' : 'not there yet' };
}

function planLeaving(state: AttributesState, target: Target, record: NodeRecord): AttributesStep {
  const [health] = wantedAttributes(record, true, 0).attributes;
  if (!health || state.deregistered) return { action: 'done', reason: 'deregistered' };
  // Where a read found nothing of rollcall's, nothing has to be taken back; an agent that has not read yet cannot know.
  if (state.arn === target.arn && state.lastWrite === null && !state.inEcs?.has(health.name)) {
    return { action: 'done', reason: 'nothing was written' };
  }
  return { action: 'deregister', target, attributes: [health], reason: 'leaving' };
}
