import type { ContainerInstance } from '../ecs/container-instance.ts';
import type { NodeRecord } from '../record/record.ts';
import { presenceState, type RollEntry } from '../record/roll.ts';
import { unreadableNodes } from '../store/unreadable-nodes.ts';
import { type AuditMemory, recall } from './audit-memory.ts';
import type { BothSides } from './both-sides.ts';
import { judgeAbsent } from './judge-absent.ts';
import { judgePresent } from './judge-present.ts';
import { isDifference, type Verdict, verdictKey } from './verdict.ts';

/**
 * Store against ECS; pure. Each present node and each container instance is in exactly one verdict, but container
 * instances that are INACTIVE: ECS has deregistered those, and lists them no more.
 * @param nowMs wall clock
 */
export function compareRolls(sides: BothSides, memory: AuditMemory, nowMs: number): readonly Verdict[] {
  const { roll, instances } = sides;
  const entries = new Map(roll.entries.map((entry) => [entry.record.ec2InstanceId, entry]));
  const present = roll.entries.filter((entry) => presenceState(entry) === 'present');
  const byArn = new Map(instances.map((instance) => [instance.containerInstanceArn, instance]));
  const owners = claimants(present.map(({ record }) => record));

  const byOwner = new Map<string, ContainerInstance[]>();
  const ownerless: ContainerInstance[] = [];
  for (const instance of instances.filter(({ status }) => status !== 'INACTIVE')) {
    const owner = instance.ec2InstanceId ?? owners.get(instance.containerInstanceArn);
    const owned = owner === undefined ? ownerless : (byOwner.get(owner) ?? []);
    owned.push(instance);
    if (owner !== undefined) byOwner.set(owner, owned);
  }

  const verdicts: Verdict[] = present.flatMap((entry) =>
    judgePresent(entry, byOwner.get(entry.record.ec2InstanceId) ?? [], { ...sides, byArn, memory, nowMs }),
  );
  const unreadable = unreadableNodes(roll.skipped);
  // ARNs that a present node has, and that ECS has under another's name: where that other one is not present, the node
  // runs there, and "not on the roll" would not be true.
  const contested = claimants(verdicts.filter(isContested).flatMap(({ record }) => record ?? []));
  const held = new Map<string, ContainerInstance>();
  const judge = (instance: ContainerInstance, entry: RollEntry | null) => {
    if (contested.has(instance.containerInstanceArn)) held.set(instance.containerInstanceArn, instance);
    else verdicts.push(judgeAbsent(instance, entry, unreadable, nowMs));
  };
  for (const [owner, owned] of byOwner) {
    const entry = entries.get(owner) ?? null;
    if (entry === null || presenceState(entry) !== 'present') for (const instance of owned) judge(instance, entry);
  }
  for (const instance of ownerless) judge(instance, null);
  return verdicts.map((verdict) => {
    const arn = verdict.record?.containerInstanceArn ?? '';
    const isHolder = isContested(verdict) && contested.get(arn) === verdict.record?.ec2InstanceId;
    return withSince(isHolder ? { ...verdict, instance: held.get(arn) ?? null } : verdict, memory, nowMs);
  });
}

/** Whose each ARN is by the records: of several that claim one always the same, however the roll is ordered. */
function claimants(records: readonly NodeRecord[]): ReadonlyMap<string | null, string> {
  const owners = new Map<string | null, string>();
  for (const { containerInstanceArn, ec2InstanceId } of records) {
    const first = owners.get(containerInstanceArn);
    if (first === undefined || ec2InstanceId < first) owners.set(containerInstanceArn, ec2InstanceId);
  }
  return owners;
}

/** A mismatch without a container instance is one whose ARN belongs to somebody else in ECS. */
function isContested({ kind, instance }: Verdict): boolean {
  return kind === 'mismatch' && instance === null;
}

/** Where the sides do not say since when, earlier audits may. */
function withSince(verdict: Verdict, memory: AuditMemory, nowMs: number): Verdict {
  if (verdict.since !== null || !isDifference(verdict.kind)) return verdict;
  return { ...verdict, since: recall(memory, verdictKey(verdict), nowMs)?.firstAt ?? null };
}
