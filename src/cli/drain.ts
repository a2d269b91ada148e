import { Command, Option } from 'commander';
import { drainMaxShareOption } from '../config/agent-flags.ts';
import { type EcsFlags, ecsOptions, ecsSettings } from '../config/ecs-flags.ts';
import { logLevelOption, nonEmpty } from '../config/flags.ts';
import { storeConfig, storeOptions, timeoutOption } from '../config/store-flags.ts';
import type { EcsApi } from '../ecs/ecs-api.ts';
import { withDeadline } from '../lib/deadline.ts';
import { describeError, RollcallError } from '../lib/errors.ts';
import { printable } from '../lib/foreign-text.ts';
import { findNode, isLongId } from '../record/find-nodes.ts';
import type { Roll, RollEntry } from '../record/roll.ts';
import { decideRoom, type StoredClaim } from '../store/drain-slots.ts';
import { openStore } from '../store/open-store.ts';
import type { Store } from '../store/store.ts';
import { readTwice } from '../store/store-errors.ts';
import { describeUnread } from '../store/unreadable-nodes.ts';
import type { CliContext, ReadFlags } from './context.ts';
import {
  drainByHand,
  type KeptSlot,
  namingKeptSlot,
  planHandDrain,
  planHandUndrain,
  RefusedError,
  readStatus,
  undrainByHand,
} from './drain-by-hand.ts';
import { refuseName } from './show.ts';

interface UndrainFlags extends ReadFlags, EcsFlags {
  readonly dryRun: boolean;
  readonly force: boolean;
}

interface DrainFlags extends UndrainFlags {
  readonly drainMaxShare: number;
  readonly reason?: string;
}

/** Of one node: the wait for the admission lock, and ECS's answers with the SDK's retries. */
const DEADLINE_MS = 180_000;
const MAX_REASON = 200;

const NODE_HELP = `
NODE is an instance id or a start of it that no other node has, an address, the
ARN of the container instance, or a machine id. Several are worked on one after
the other, a line each; where one fails the others go on, and the exit status is
1. The command needs the store, which has the drain slots, and AWS credentials
that may call ecs:DescribeContainerInstances and
ecs:UpdateContainerInstancesState, in the region of the node's ARN.`;

const DRAIN_HELP = `${NODE_HELP}

A drain takes one of the cluster's drain slots, as agents with --drain-on do,
and is refused while none is free. The node stays DRAINING until
rollcall undrain: its agent leaves it alone. The slot is held for 7 days, for 7
more after another rollcall drain NODE, and longer if the agent has --drain-on,
which renews it.

Examples:
  rollcall drain i-0abc1234def567890 --reason 'kernel update' --dry-run
  rollcall drain 10.113.0.23 10.113.0.24 --drain-max-share 20%
  rollcall status   # names the nodes that hold slots`;

const UNDRAIN_HELP = `${NODE_HELP}

The node is ACTIVE again, and its drain slot is free. Also for a node that its
own agent drained: the agent leaves it alone until the cause is over.

Examples:
  rollcall undrain i-0abc1234def567890
  rollcall undrain 10.113.0.23 --dry-run`;

export function drainCommand(context: CliContext): Command {
  const command = new Command('drain')
    .description('Drain nodes by hand, within the share of their cluster that may drain at the same time.')
    .argument('<node...>', 'instance id or its start, address, ARN or machine id')
    .addOption(drainMaxShareOption())
    .addOption(
      new Option('--reason <text>', 'why, for the other operators: in status and in /v1/self')
        .env('ROLLCALL_REASON')
        .argParser(nonEmpty),
    )
    .addHelpText('after', DRAIN_HELP);
  for (const option of commonOptions('drain although no slot is free, or although its agent asks ECS at this moment'))
    command.addOption(option);
  return command.action((names: readonly string[], flags: DrainFlags) => {
    const planned: StoredClaim[] = [];
    return withNodes(context, flags, names, 'drain', (target, store, ecs, kept, signal) =>
      drain(context, flags, planned, target, store, ecs, kept, signal),
    );
  });
}

export function undrainCommand(context: CliContext): Command {
  const command = new Command('undrain')
    .description('Make drained nodes ACTIVE again and give their drain slots back.')
    .argument('<node...>', 'instance id or its start, address, ARN or machine id')
    .addHelpText('after', UNDRAIN_HELP);
  for (const option of commonOptions('although its agent asks ECS to drain it at this moment'))
    command.addOption(option);
  return command.action((names: readonly string[], flags: UndrainFlags) =>
    withNodes(context, flags, names, 'undrain', (target, store, ecs, kept, signal) =>
      undrain(flags, target, store, ecs, kept, signal),
    ),
  );
}

function commonOptions(force: string): Option[] {
  return [
    new Option('--force', force).env('ROLLCALL_FORCE').default(false),
    new Option('--dry-run', 'say what would happen, and change nothing').env('ROLLCALL_DRY_RUN').default(false),
    ...storeOptions(),
    timeoutOption(),
    ...ecsOptions('that of the node’s ARN'),
    logLevelOption(),
  ];
}

/** The node on the roll, as a container instance. */
interface Target {
  readonly instanceId: string;
  readonly arn: string;
  readonly cluster: string;
  readonly label: string;
  readonly entry: RollEntry;
}

type Act = (target: Target, store: Store, ecs: EcsApi, kept: KeptSlot, signal: AbortSignal) => Promise<string>;

/**
 * Each node in turn, with a line of its own on stdout or, where it failed, on stderr; the others go on.
 * @throws UsageError before anything is changed, RollcallError where one failed
 */
async function withNodes(
  context: CliContext,
  flags: UndrainFlags,
  names: readonly string[],
  action: 'drain' | 'undrain',
  act: Act,
): Promise<void> {
  for (const name of names) refuseName(findNode([], name));
  const { clock, random, signal } = context;
  const { openEcsApi, openEcsOnce } = await import('../ecs/open-ecs-api.ts');
  const ecs = openEcsOnce(ecsSettings(flags), (settings) => openEcsApi(settings, context));
  const store = await openStore(storeConfig(flags), { clock, random, signal, create: false });
  const limitMs = Math.max(DEADLINE_MS, flags.timeout ?? 0);
  const within = <T>(work: (ending: AbortSignal) => Promise<T>) =>
    withDeadline(clock, limitMs, signal, action, (ending) => readTwice(() => work(ending), ending));

  const actOn = async (node: Named): Promise<void> => {
    if (node.instanceId === null) throw absent(node.name, node.unread, store);
    const kept: KeptSlot = { label: null, note: null };
    const { name, instanceId } = node;
    const said = await namingKeptSlot(kept, () =>
      within(async (ending) => {
        // Read anew: the node may have changed while those before it were worked on.
        const { entry, skipped } = await store.readOne(instanceId, ending);
        if (entry === null) throw absent(name, describeUnread(skipped, instanceId), store);
        const target = targetOf(entry);
        kept.label = target.label;
        try {
          return `${target.label}: ${await act(target, store, await ecs.forArn(target.arn), kept, ending)}`;
        } catch (error) {
          if (!(error instanceof RefusedError)) throw error;
          throw new RollcallError(`${target.label}: ${error.message}`);
        }
      }),
    );
    await context.stdout(`${printable(said)}\n`);
  };

  try {
    const nodes = await within(async (ending) => whichNodes(await store.read(ending, { hurry: true }), names));
    const [only, ...others] = nodes;
    if (only && others.length === 0) return await actOn(only);
    let failed = 0;
    for (const [done, node] of nodes.entries()) {
      try {
        await actOn(node);
      } catch (error) {
        const rest = nodes.slice(done + 1).map(({ name }) => name);
        if (signal.aborted) throw interrupted(error, node.name, rest);
        context.stderr(`rollcall ${action}: ${describeError(error)}`);
        failed += 1;
      }
    }
    if (failed > 0) throw new RollcallError(`${failed} of ${nodes.length} nodes failed; the lines above say why`);
  } finally {
    await ecs.close();
    await store.close();
  }
}

function interrupted(error: unknown, at: string, rest: readonly string[]): unknown {
  const left = rest.length === 0 ? '' : `; not begun: ${rest.join(', ')}`;
  return new RollcallError(`${describeError(error)}; it was at ${at}${left}`, { cause: error });
}

/** A node as it was named; `instanceId` null: not known, as the roll has no such node, or cannot read it, as `unread` says. */
interface Named {
  readonly name: string;
  readonly instanceId: string | null;
  readonly unread: string | null;
}

/** Each once, in the order of the names. @throws UsageError for a name that several nodes have */
function whichNodes({ entries, skipped }: Roll, names: readonly string[]): readonly Named[] {
  const nodes = new Map<string, Named>();
  for (const name of names) {
    const found = findNode(entries, name);
    refuseName(found);
    // Of a whole id the store is asked once more: the roll does not name all keys that cannot be read.
    const absentId = isLongId(name) ? name : null;
    const instanceId = found.kind === 'found' ? found.entry.record.ec2InstanceId : absentId;
    const key = instanceId ?? name;
    const unread = instanceId === null ? describeUnread(skipped, name) : null;
    if (!nodes.has(key)) nodes.set(key, { name, instanceId, unread });
  }
  return [...nodes.values()];
}

function absent(name: string, unread: string | null, { label }: Store): RollcallError {
  if (unread !== null) return new RollcallError(unread);
  return new RollcallError(`${name} is not on the roll at ${label}; rollcall list --all prints all nodes`);
}

function targetOf(entry: RollEntry): Target {
  const { ec2InstanceId, containerInstanceArn, cluster, privateIpAddress } = entry.record;
  if (containerInstanceArn === null || cluster === null) {
    throw new RollcallError(`${ec2InstanceId} is no container instance: ecs-agent has not registered it yet`);
  }
  const node = `${ec2InstanceId} (${privateIpAddress ?? 'no address'}, ${cluster})`;
  return { instanceId: ec2InstanceId, arn: containerInstanceArn, cluster, label: node, entry };
}

/** Of a plan that changes nothing. @throws RefusedError */
function withoutChange({ kind, reason }: { readonly kind: 'refuse' | 'nothing'; readonly reason: string }): string {
  if (kind === 'refuse') throw new RefusedError(reason);
  return reason;
}

/** @param planned the slots that a dry run would have taken before this node */
async function drain(
  { clock, random }: CliContext,
  { force, dryRun, drainMaxShare, reason }: DrainFlags,
  planned: StoredClaim[],
  target: Target,
  { drainSlots: slots, ...store }: Store,
  ecs: EcsApi,
  kept: KeptSlot,
  signal: AbortSignal,
): Promise<string> {
  const { instanceId, arn, cluster } = target;
  const held = await slots.read(instanceId, signal);
  // After a first try without an answer: now it is known.
  if (held?.claim.phase !== 'manual') kept.note = null;
  const others = (await slots.list(signal)).filter((each) => each.instanceId !== instanceId);
  const taken = [...others, ...planned];
  const room = decideRoom({ arn, cluster }, taken, await store.read(signal), drainMaxShare);
  const plan = planHandDrain({ target, claim: held, status: await readStatus(ecs, target, signal), room, force });
  if (plan.kind !== 'drain') return withoutChange(plan);
  const stays = plan.claim === 'keep' && !plan.askEcs ? 'it is drained by hand already' : null;
  const reasonNow = printable(['drained by hand', reason].filter(Boolean).join(': ')).slice(0, MAX_REASON);
  const reasonBefore = plan.claim === 'keep' ? held?.claim.reason : undefined;
  const claim = {
    ...{ phase: 'manual' as const, arn, cluster, since: new Date(clock.wallMs()).toISOString() },
    reason: reason === undefined ? (reasonBefore ?? reasonNow) : reasonNow,
    session: `by-hand-${Math.floor(random() * 2 ** 48).toString(16)}`,
  };
  if (dryRun) {
    if (plan.claim === 'take') planned.push({ instanceId, claim });
    return stays ?? `would be drained; ${room.reason}`;
  }
  const request = { claim, maxSharePercent: force ? null : drainMaxShare };
  await drainByHand({ slots, ecs, clock, kept }, target, plan, held, request, signal);
  if (stays) {
    const renamed = reasonBefore === claim.reason ? '' : `, and its reason is now "${claim.reason}"`;
    return `${stays}; its slot is held for 7 days from now${renamed}`;
  }
  return `DRAINING until rollcall undrain; ${room.taken + 1} of ${room.slots} drain slots of ${cluster} are taken`;
}

async function undrain(
  { force, dryRun }: UndrainFlags,
  target: Target,
  { drainSlots: slots }: Store,
  ecs: EcsApi,
  kept: KeptSlot,
  signal: AbortSignal,
): Promise<string> {
  const held = await slots.read(target.instanceId, signal);
  if (held === null) kept.note = null;
  const status = await readStatus(ecs, target, signal);
  const plan = planHandUndrain({ target, claim: held, status, force, record: target.entry.record });
  if (plan.kind !== 'undrain') return withoutChange(plan);
  if (dryRun) {
    const steps = [plan.askEcs && 'be made ACTIVE', plan.claim !== 'none' && 'give its drain slot back'];
    return `would ${steps.filter(Boolean).join(' and ')}`;
  }
  const asked = await undrainByHand({ slots, ecs, kept }, target, plan, held, target.entry.record, signal);
  const now = asked ? 'ACTIVE' : `ECS has it ${status}`;
  if (plan.claim === 'give-back-former') {
    const next = status === 'DRAINING' ? ', drained by something else: run this again to make it ACTIVE' : '';
    return `its drain slot is free: it was for the container instance before ecs-agent registered this node anew; ${now}${next}`;
  }
  if (plan.claim === 'none') return `${now}; it held no drain slot`;
  const left = plan.claim === 'overrule' ? '; its agent leaves it alone until the cause is over' : '';
  return `${now}; its drain slot is free${left}`;
}
