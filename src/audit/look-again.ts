import type { ContainerInstance } from '../ecs/container-instance.ts';
import { describeInstances } from '../ecs/describe-instances.ts';
import type { EcsApi } from '../ecs/ecs-api.ts';
import type { Roll } from '../record/roll.ts';
import { isContainerInstanceArn } from '../sources/ecs-arn.ts';
import type { Store } from '../store/store.ts';
import { arnScope, clusterOf } from './arn-scope.ts';
import type { BothSides } from './both-sides.ts';
import { instanceIdOf, type Verdict } from './verdict.ts';

/** More than these are read as the whole roll, which then is cheaper. */
const MAX_SINGLE_READS = 100;

type Sides = BothSides & { readonly roll: Roll };

/**
 * Reads again, of both sides, only what these verdicts are about, the store first: a record may name a container
 * instance by now that ECS had not listed then.
 */
export async function lookAgain(
  { store, ecs }: { readonly store: Pick<Store, 'read' | 'readOne'>; readonly ecs: EcsApi },
  sides: Sides,
  suspects: readonly Verdict[],
  signal: AbortSignal,
): Promise<Pick<Sides, 'roll' | 'instances'>> {
  const ids = new Set(suspects.map(instanceIdOf));
  const roll = await readAgain(store, sides.roll, ids, signal);
  const looked = new Map<string, string>();
  const add = (arn: string | null, cluster: string | null) => {
    if (arn !== null && cluster !== null && sides.clusters.includes(cluster)) looked.set(arn, cluster);
  };
  for (const { instance } of suspects) add(instance?.containerInstanceArn ?? null, instance?.cluster ?? null);
  for (const { containerInstanceArn, ec2InstanceId, cluster } of sides.instances) {
    if (ids.has(ec2InstanceId)) add(containerInstanceArn, cluster);
  }
  for (const { record } of [...sides.roll.entries, ...roll.entries]) {
    const { containerInstanceArn: arn, ec2InstanceId } = record;
    // One ARN that cannot be, from a broken record, would fail the whole request.
    if (!ids.has(ec2InstanceId) || arn === null || !isContainerInstanceArn(arn)) continue;
    if (sides.scopes.has(arnScope(arn))) add(arn, clusterOf(record));
  }
  const again = await describe(ecs, looked, signal);
  return { roll, instances: [...sides.instances.filter((each) => !looked.has(each.containerInstanceArn)), ...again] };
}

async function readAgain(
  store: Pick<Store, 'read' | 'readOne'>,
  roll: Roll,
  ids: ReadonlySet<string | null>,
  signal: AbortSignal,
): Promise<Roll> {
  if (ids.has(null) || ids.size > MAX_SINGLE_READS) return store.read(signal);
  const entries = new Map(roll.entries.map((entry) => [entry.record.ec2InstanceId, entry]));
  const skipped = new Map(roll.skipped.map((each) => [each.key, each]));
  let { revision } = roll;
  for (const id of ids) {
    if (id === null) continue;
    const one = await store.readOne(id, signal);
    revision = one.revision;
    if (one.entry) entries.set(id, one.entry);
    else entries.delete(id);
    for (const each of one.skipped) skipped.set(each.key, each);
  }
  return { revision, entries: [...entries.values()], skipped: [...skipped.values()] };
}

/** @param looked ARN → its cluster's name */
async function describe(
  ecs: EcsApi,
  looked: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<readonly ContainerInstance[]> {
  const instances: ContainerInstance[] = [];
  for (const cluster of new Set(looked.values())) {
    const arns = [...looked.keys()].filter((arn) => looked.get(arn) === cluster);
    instances.push(...(await describeInstances(ecs, cluster, arns, signal)));
  }
  return instances;
}
