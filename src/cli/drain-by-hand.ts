import type { EcsApi } from '../ecs/ecs-api.ts';
import { EcsError, isRefusal } from '../ecs/ecs-errors.ts';
import type { Clock } from '../lib/clock.ts';
import { describeError, RollcallError } from '../lib/errors.ts';
import { standingCauses } from '../record/drain-causes.ts';
import type { NodeRecord } from '../record/record.ts';
import { type DrainClaim, type DrainSlots, type HeldClaim, overruled } from '../store/drain-slots.ts';

/** What is known of the node before a drain by hand. */
interface DrainFacts {
  readonly target: Pick<DrainTarget, 'arn' | 'cluster'>;
  readonly claim: HeldClaim | null;
  /** As ECS describes it. */
  readonly status: string;
  /** Whether one more node of its cluster may drain; `reason` is one line. */
  readonly room: { readonly free: boolean; readonly reason: string };
  /** Also where no slot is free, or its agent is asking ECS at this moment. */
  readonly force: boolean;
}

/**
 * `claim`: `keep` the operator's and renew it, `take` a slot, also instead of a claim that uses none in this cluster for
 * this container instance, `replace` the agent's, which uses one.
 */
type DrainPlan =
  | { readonly kind: 'refuse' | 'nothing'; readonly reason: string }
  | { readonly kind: 'drain'; readonly claim: 'keep' | 'take' | 'replace'; readonly askEcs: boolean };

/** How `rollcall drain` drains a node; pure. */
export function planHandDrain({ target, claim, status, room, force }: DrainFacts): DrainPlan {
  const askEcs = status !== 'DRAINING';
  if (askEcs && status !== 'ACTIVE') {
    return { kind: 'refuse', reason: `ECS has it ${status}: only an ACTIVE node can be drained` };
  }
  const ofTarget = claim?.claim.arn === target.arn && claim.claim.cluster === target.cluster;
  const phase = ofTarget ? claim.claim.phase : null;
  if (phase === 'manual') return { kind: 'drain', claim: 'keep', askEcs };
  if (phase === 'activating' && !force) {
    return { kind: 'refuse', reason: 'its agent makes it ACTIVE at this moment: try again, or use --force' };
  }
  if (phase !== null && phase !== 'overruled') return { kind: 'drain', claim: 'replace', askEcs };
  if (!room.free && !force) return { kind: 'refuse', reason: `${room.reason}; undrain one of them, or use --force` };
  return { kind: 'drain', claim: 'take', askEcs };
}

type UndrainFacts = Pick<DrainFacts, 'claim' | 'status' | 'force'> & {
  readonly record: Pick<NodeRecord, 'health' | 'interruption'>;
};

/** `claim`: `overrule` leaves a note, so that the agent does not drain the node again for the cause that stands. */
type UndrainPlan =
  | { readonly kind: 'refuse' | 'nothing'; readonly reason: string }
  | { readonly kind: 'undrain'; readonly claim: 'none' | 'give-back' | 'overrule'; readonly askEcs: boolean };

/** How `rollcall undrain` makes a node active again; pure. */
export function planHandUndrain({ claim, status, force, record }: UndrainFacts): UndrainPlan {
  const askEcs = status === 'DRAINING';
  const phase = claim?.claim.phase ?? null;
  if (phase === null || phase === 'overruled') {
    if (askEcs) return { kind: 'undrain', claim: 'none', askEcs };
    return { kind: 'nothing', reason: `ECS has it ${status}, and it holds no drain slot` };
  }
  if (phase === 'asked' && !force) {
    return { kind: 'refuse', reason: 'its agent asks ECS to drain it at this moment: try again, or use --force' };
  }
  if (phase === 'activating') return { kind: 'undrain', claim: 'give-back', askEcs };
  const mayStand = phase !== 'manual' || record.interruption !== null || record.health.status === 'critical';
  return { kind: 'undrain', claim: mayStand ? 'overrule' : 'give-back', askEcs };
}

interface HandDrainDeps {
  readonly slots: DrainSlots;
  readonly ecs: EcsApi;
  readonly clock: Clock;
  readonly kept: KeptSlot;
}

/** For the error of a drain that ends before ECS answered. */
export interface KeptSlot {
  /** The node in words; null: not known yet. */
  label: string | null;
  /** Of the node whose slot is taken while its drain is under way; null: none is. */
  instanceId: string | null;
}

/** Runs `drain`; where it fails or is interrupted after it took the slot, the error says so. */
export async function namingKeptSlot<T>(kept: KeptSlot, drain: () => Promise<T>): Promise<T> {
  try {
    return await drain();
  } catch (error) {
    const { label, instanceId } = kept;
    if (instanceId === null) throw error;
    const next = `the slot stays taken: run rollcall drain or rollcall undrain ${instanceId} again`;
    throw new RollcallError(`${label ?? instanceId}: ${describeError(error)}; ${next}`, { cause: error });
  }
}

/** The node's container instance. */
interface DrainTarget {
  readonly instanceId: string;
  readonly arn: string;
  readonly cluster: string;
}

/** The status of the container instance in ECS, such as ACTIVE; MISSING: ECS does not know it. @throws EcsError */
export async function readStatus(ecs: EcsApi, { arn, cluster }: DrainTarget, signal: AbortSignal): Promise<string> {
  const { instances, failures } = await ecs.describeContainerInstances(cluster, [arn], signal);
  return instances.find((each) => each.containerInstanceArn === arn)?.status ?? failures[0]?.reason ?? 'MISSING';
}

/** Another process counts slots for a moment; after a crash of it for 30 s. */
const BUSY_PAUSE_MS = 500;
const BUSY_LIMIT_MS = 35_000;

/**
 * Takes the slot and then asks ECS, so that what is draining always counts. What ECS refuses leaves the claims as before.
 * @param maxSharePercent null: whatever the share @throws EcsError, StoreError, RollcallError where no slot is free
 */
export async function drainByHand(
  deps: HandDrainDeps,
  target: DrainTarget,
  plan: Extract<DrainPlan, { readonly kind: 'drain' }>,
  before: HeldClaim | null,
  request: { readonly claim: DrainClaim; readonly maxSharePercent: number | null },
  signal: AbortSignal,
): Promise<void> {
  const { slots, kept } = deps;
  if (before && plan.claim === 'keep' && !(await slots.renew(before, signal))) slotChanged();
  const held = plan.claim === 'keep' ? null : await claimSlot(deps, target, before, request, plan.claim, signal);
  if (!plan.askEcs) return;
  kept.instanceId = target.instanceId;
  try {
    await setStatus(deps.ecs, target, 'DRAINING', signal);
  } catch (error) {
    // Without an answer it may drain: then the slot stays taken.
    if (!isRefusal(error)) throw error;
    if (held) await restore(slots, held, before, signal);
    kept.instanceId = null;
    throw error;
  }
  kept.instanceId = null;
}

async function claimSlot(
  { slots, clock }: HandDrainDeps,
  { instanceId }: DrainTarget,
  before: HeldClaim | null,
  { claim, maxSharePercent }: { readonly claim: DrainClaim; readonly maxSharePercent: number | null },
  how: 'take' | 'replace',
  signal: AbortSignal,
): Promise<HeldClaim> {
  if (before && how === 'replace') return (await slots.replace(before, claim, signal)) ?? slotChanged();
  const insteadOf = before ? { insteadOf: before } : {};
  const endMs = clock.monotonicMs() + BUSY_LIMIT_MS;
  for (;;) {
    const outcome = await slots.take({ instanceId, claim, maxSharePercent, ...insteadOf }, signal);
    if (outcome.kind === 'taken') return outcome.held.claim.session === claim.session ? outcome.held : slotChanged();
    if (outcome.kind === 'full') throw new RollcallError(`${outcome.reason}; undrain one of them, or use --force`);
    if (clock.monotonicMs() >= endMs) throw new RollcallError('other nodes take drain slots all the time: try again');
    await clock.sleep(BUSY_PAUSE_MS, signal);
  }
}

async function restore(
  slots: DrainSlots,
  held: HeldClaim,
  before: HeldClaim | null,
  signal: AbortSignal,
): Promise<void> {
  if (before) await slots.replace(held, before.claim, signal);
  else await slots.giveBack(held, signal);
}

/** Asks ECS and then gives the slot back: a node that still drains counts. @throws EcsError, StoreError */
export async function undrainByHand(
  { slots, ecs }: Pick<HandDrainDeps, 'slots' | 'ecs'>,
  target: DrainTarget,
  plan: Extract<UndrainPlan, { readonly kind: 'undrain' }>,
  held: HeldClaim | null,
  record: UndrainFacts['record'],
  signal: AbortSignal,
): Promise<void> {
  if (plan.askEcs) await setStatus(ecs, target, 'ACTIVE', signal);
  if (!held || plan.claim === 'none') return;
  if (plan.claim === 'give-back') {
    if (!(await slots.giveBack(held, signal))) slotChanged();
    return;
  }
  if (!(await slots.replace(held, overruled(held.claim, standingCauses(record)), signal))) slotChanged();
}

async function setStatus(
  ecs: EcsApi,
  { arn, cluster }: DrainTarget,
  status: 'DRAINING' | 'ACTIVE',
  signal: AbortSignal,
): Promise<void> {
  const [failure] = (await ecs.updateContainerInstancesState(cluster, [arn], status, signal)).failures;
  if (!failure) return;
  const message = `ecs:UpdateContainerInstancesState: ${status}: ${failure.reason}`;
  throw new EcsError(message, { code: failure.reason, retryable: false });
}

function slotChanged(): never {
  throw new RollcallError('its drain slot changed meanwhile, as its agent works on it too: run this again');
}
