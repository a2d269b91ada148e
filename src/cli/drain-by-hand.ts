import { standingCauses } from '../agent/drain/cause.ts';
import type { EcsApi } from '../ecs/ecs-api.ts';
import { EcsError, isRefusal } from '../ecs/ecs-errors.ts';
import { statusInEcs, whyNotActive } from '../ecs/list-instances.ts';
import type { Clock } from '../lib/clock.ts';
import { describeError, RollcallError } from '../lib/errors.ts';
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
 * `claim`: `keep` the operator's, with the reason of now, and renew it, `take` a slot, also instead of a claim that uses none in this cluster for
 * this container instance, `replace` the agent's, which uses one.
 */
type DrainPlan =
  | { readonly kind: 'refuse' | 'nothing'; readonly reason: string }
  | { readonly kind: 'drain'; readonly claim: 'keep' | 'take' | 'replace'; readonly askEcs: boolean };

/** How `rollcall drain` drains a node; pure. */
export function planHandDrain({ target, claim, status, room, force }: DrainFacts): DrainPlan {
  const askEcs = status !== 'DRAINING';
  if (askEcs && status !== 'ACTIVE') {
    return { kind: 'refuse', reason: whyNotActive(status) };
  }
  const phase = isFor(claim, target) ? claim.claim.phase : null;
  if (phase === 'manual') return { kind: 'drain', claim: 'keep', askEcs };
  if (phase === 'activating' && !force) {
    return { kind: 'refuse', reason: 'its agent makes it ACTIVE at this moment: try again, or use --force' };
  }
  if (phase !== null && phase !== 'overruled') return { kind: 'drain', claim: 'replace', askEcs };
  if (!room.free && !force) return { kind: 'refuse', reason: `${room.reason}; undrain one of them, or use --force` };
  return { kind: 'drain', claim: 'take', askEcs };
}

/** Whether the claim drains the container instance that the node is now: ecs-agent may have registered it anew since. */
function isFor(claim: HeldClaim | null, { arn, cluster }: DrainFacts['target']): claim is HeldClaim {
  return claim?.claim.arn === arn && claim.claim.cluster === cluster;
}

type UndrainFacts = Pick<DrainFacts, 'target' | 'claim' | 'status' | 'force'> & {
  readonly record: Pick<NodeRecord, 'health' | 'interruption'>;
};

/**
 * `claim`: `overrule` leaves a note, so that the agent does not drain the node again for the cause that stands;
 * `give-back-former` that of the container instance that the node was before: what drains it now is something else.
 */
type UndrainPlan =
  | { readonly kind: 'refuse' | 'nothing'; readonly reason: string }
  | {
      readonly kind: 'undrain';
      readonly claim: 'none' | 'give-back' | 'give-back-former' | 'overrule';
      readonly askEcs: boolean;
    };

/** How `rollcall undrain` makes a node active again; pure. */
export function planHandUndrain({ target, claim, status, force, record }: UndrainFacts): UndrainPlan {
  const askEcs = status === 'DRAINING';
  const phase = claim?.claim.phase ?? null;
  if (phase === null || phase === 'overruled') {
    if (askEcs) return { kind: 'undrain', claim: 'none', askEcs };
    return { kind: 'nothing', reason: `ECS has it ${status}, and it holds no drain slot` };
  }
  if (!isFor(claim, target)) return { kind: 'undrain', claim: 'give-back-former', askEcs: false };
  if (phase === 'asked' && !force) {
    return { kind: 'refuse', reason: 'its agent asks ECS to drain it at this moment: try again, or use --force' };
  }
  if (phase === 'activating') return { kind: 'undrain', claim: 'give-back', askEcs };
  const mayStand = phase !== 'manual' || record.interruption !== null || record.health.status === 'critical';
  return { kind: 'undrain', claim: mayStand ? 'overrule' : 'give-back', askEcs };
}

/** The node cannot be drained or undrained now; the message lacks the node. */
export class RefusedError extends RollcallError {
  override readonly name = 'RefusedError';
}

interface HandDrainDeps {
  readonly slots: DrainSlots;
  readonly ecs: EcsApi;
  readonly clock: Clock;
  readonly kept: KeptSlot;
}

/** For the error of a drain or undrain that ends before it is complete. */
export interface KeptSlot {
  /** The node in words; null: not known yet. */
  label: string | null;
  /** What is with its drain slot if the command ended now, and the next step; null: nothing to say. */
  note: string | null;
}

/** Runs `drain`; where it fails or is interrupted after it took the slot, or while it takes it, the error says so. */
export async function namingKeptSlot<T>(kept: KeptSlot, drain: () => Promise<T>): Promise<T> {
  try {
    return await drain();
  } catch (error) {
    const { label, note } = kept;
    if (note === null) throw error;
    throw new RollcallError(`${label === null ? '' : `${label}: `}${describeError(error)}; ${note}`, { cause: error });
  }
}

const staysTaken = (instanceId: string) =>
  `the slot stays taken: run rollcall drain or rollcall undrain ${instanceId} again`;
const mayBeTaken = (instanceId: string) =>
  `the slot may be taken: rollcall undrain ${instanceId} frees it, rollcall drain ${instanceId} goes on`;
const drainsWithoutSlot = (instanceId: string) =>
  `rollcall undrain gave its drain slot back meanwhile, and ECS may drain it: run rollcall undrain ${instanceId} again`;
const mayDrain = (instanceId: string) =>
  `its drain slot is free, but ECS may drain it: run rollcall undrain ${instanceId} again`;
const maySlotStay = (instanceId: string) => `the slot may still be taken: run rollcall undrain ${instanceId} again`;

/** A write of which the caller may never hear: while it is under way, and after it got no answer, `note` holds. */
async function noting<T>(kept: KeptSlot, note: string | null, write: () => Promise<T>): Promise<T> {
  kept.note = note;
  try {
    const answer = await write();
    kept.note = null;
    return answer;
  } catch (error) {
    if (isRefusal(error)) kept.note = null;
    throw error;
  }
}

/** The node's container instance. */
interface DrainTarget {
  readonly instanceId: string;
  readonly arn: string;
  readonly cluster: string;
}

/** As `statusInEcs`. @throws EcsError */
export async function readStatus(
  ecs: EcsApi,
  { instanceId, arn, cluster }: DrainTarget,
  signal: AbortSignal,
): Promise<string> {
  return statusInEcs(await ecs.describeContainerInstances(cluster, [arn], signal), arn, instanceId);
}

/** Another process counts slots for a moment; after a crash of it for 30 s. */
const BUSY_PAUSE_MS = 500;
const BUSY_LIMIT_MS = 35_000;

/**
 * Takes the slot and then asks ECS, so that what is draining always counts. What ECS refuses leaves the claims as before.
 * @param maxSharePercent null: whatever the share
 * @throws EcsError, StoreError, RollcallError where no slot is free or the node was undrained meanwhile
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
  if (before && plan.claim === 'keep') await keepSlot(slots, before, request.claim, signal);
  const held = plan.claim === 'keep' ? null : await claimSlot(deps, target, before, request, plan.claim, signal);
  if (!plan.askEcs) return;
  const note = staysTaken(target.instanceId);
  try {
    await noting(kept, note, () => setStatus(deps.ecs, target, 'DRAINING', signal));
  } catch (error) {
    // Without an answer it may drain: then the slot stays taken, as does one that was taken before.
    if (!held) kept.note = note;
    else if (isRefusal(error)) await noting(kept, note, () => restore(slots, held, before, signal));
    throw error;
  }
  await heedUndrain(deps, target, signal);
}

/** Holds the slot anew, with the reason of now. */
async function keepSlot(
  slots: DrainSlots,
  held: HeldClaim,
  { reason }: DrainClaim,
  signal: AbortSignal,
): Promise<void> {
  if (!(await slots.renew(held, signal))) slotChanged();
  if (reason === held.claim.reason) return;
  if (!(await slots.replace(held, { ...held.claim, reason }, signal))) slotChanged();
}

/**
 * An undrain while ECS was asked found the node still ACTIVE and gave the slot back: the node is made ACTIVE again, since
 * what is draining counts. The undrain reads the status after that, so that one of the two sees what the other did.
 */
async function heedUndrain(
  { slots, ecs, kept }: Omit<HandDrainDeps, 'clock'>,
  target: DrainTarget,
  signal: AbortSignal,
): Promise<void> {
  const { instanceId } = target;
  const now = await noting(kept, staysTaken(instanceId), () => slots.read(instanceId, signal));
  if (isFor(now, target) && now.claim.phase !== 'overruled') return;
  kept.note = drainsWithoutSlot(instanceId);
  await setStatus(ecs, target, 'ACTIVE', signal);
  kept.note = null;
  throw new RefusedError('rollcall undrain gave its drain slot back meanwhile, so it is ACTIVE again');
}

async function claimSlot(
  { slots, clock, kept }: HandDrainDeps,
  { instanceId }: DrainTarget,
  before: HeldClaim | null,
  { claim, maxSharePercent }: { readonly claim: DrainClaim; readonly maxSharePercent: number | null },
  how: 'take' | 'replace',
  signal: AbortSignal,
): Promise<HeldClaim> {
  const note = mayBeTaken(instanceId);
  if (before && how === 'replace')
    return (await noting(kept, note, () => slots.replace(before, claim, signal))) ?? slotChanged();
  const insteadOf = before ? { insteadOf: before } : {};
  const endMs = clock.monotonicMs() + BUSY_LIMIT_MS;
  for (;;) {
    const request = { instanceId, claim, maxSharePercent, ...insteadOf };
    const outcome = await noting(kept, note, () => slots.take(request, signal));
    if (outcome.kind === 'taken') return outcome.held.claim.session === claim.session ? outcome.held : slotChanged();
    if (outcome.kind === 'full') throw new RefusedError(`${outcome.reason}; undrain one of them, or use --force`);
    if (clock.monotonicMs() >= endMs) throw new RefusedError('other nodes take drain slots all the time: try again');
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

/**
 * Asks ECS and then gives the slot back: a node that still drains counts.
 * @returns whether ECS was asked @throws EcsError, StoreError
 */
export async function undrainByHand(
  { slots, ecs, kept }: Omit<HandDrainDeps, 'clock'>,
  target: DrainTarget,
  plan: Extract<UndrainPlan, { readonly kind: 'undrain' }>,
  held: HeldClaim | null,
  record: UndrainFacts['record'],
  signal: AbortSignal,
): Promise<boolean> {
  const note = held && plan.claim !== 'none' ? maySlotStay(target.instanceId) : null;
  if (plan.askEcs) await noting(kept, note, () => setStatus(ecs, target, 'ACTIVE', signal));
  if (!held || plan.claim === 'none') return plan.askEcs;
  const write = (): Promise<HeldClaim | boolean | null> =>
    plan.claim === 'overrule'
      ? slots.replace(held, overruled(held.claim, standingCauses(record)), signal)
      : slots.giveBack(held, signal);
  if (!(await noting(kept, note, write))) slotChanged();
  if (plan.askEcs || plan.claim === 'give-back-former') return plan.askEcs;
  // A drain may have waited for ECS meanwhile.
  kept.note = mayDrain(target.instanceId);
  const drains = (await readStatus(ecs, target, signal)) === 'DRAINING';
  const now = drains ? await slots.read(target.instanceId, signal) : null;
  if (isFor(now, target) && now.claim.phase !== 'overruled') {
    kept.note = null;
    throw new RefusedError(
      'another rollcall drain has drained it meanwhile; run rollcall undrain again to end that one, too',
    );
  }
  if (drains) await setStatus(ecs, target, 'ACTIVE', signal);
  kept.note = null;
  return drains;
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
  throw new RefusedError('its drain slot changed meanwhile, as its agent works on it too: run this again');
}
