import { arnScope, clusterOf, isContainerInstanceArn } from '../ecs/arn.ts';
import type { ContainerInstance, EcsApi } from '../ecs/ecs-api.ts';
import { describeInstances, enumerateInstances } from '../ecs/list-instances.ts';
import type { Clock } from '../lib/clock.ts';
import { RollcallError } from '../lib/errors.ts';
import type { Roll } from '../record/roll.ts';
import type { Store } from '../store/store.ts';
import { type BothSides, compareRolls } from './compare.ts';
import { type AuditMemory, remember } from './history.ts';
import {
  type AuditReport,
  arnOf,
  DIFFERENCE_KINDS,
  type Difference,
  type DifferenceKind,
  instanceIdOf,
  isDifference,
  NOTE_KINDS,
  type Note,
  type NoteKind,
  type Verdict,
  verdictKey,
} from './report.ts';

/** @param about clusters by name; instants on the wall clock */
export function buildAuditReport(
  verdicts: readonly Verdict[],
  about: {
    readonly clusters: readonly string[];
    readonly startedMs: number;
    readonly finishedMs: number;
    readonly revision: string;
  },
): AuditReport {
  const count = (kind: Verdict['kind']) => verdicts.filter((verdict) => verdict.kind === kind).length;
  return {
    schemaVersion: 1,
    clusters: about.clusters.toSorted(),
    startedAt: new Date(about.startedMs).toISOString(),
    finishedAt: new Date(about.finishedMs).toISOString(),
    revision: about.revision,
    agreeing: count('agreeing'),
    elsewhere: count('elsewhere'),
    differences: DIFFERENCE_KINDS.flatMap((kind): Difference[] => findings(verdicts, kind)),
    notes: NOTE_KINDS.flatMap((kind): Note[] => findings(verdicts, kind)),
  };
}

function findings<K extends DifferenceKind | NoteKind>(verdicts: readonly Verdict[], kind: K) {
  return verdicts
    .filter((verdict) => verdict.kind === kind)
    .map((verdict) => ({
      kind,
      instanceId: instanceIdOf(verdict),
      cluster: verdict.instance?.cluster ?? (verdict.record && clusterOf(verdict.record)),
      containerInstanceArn: arnOf(verdict),
      privateIpAddress: verdict.record?.privateIpAddress ?? null,
      since: verdict.since,
      reason: verdict.reason,
    }))
    .map((finding) => ({
      finding,
      key: JSON.stringify([finding.cluster, finding.instanceId, finding.containerInstanceArn]),
    }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ finding }) => finding);
}

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
  const again = await describeEach(ecs, looked, signal);
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
async function describeEach(
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

export interface AuditDeps {
  readonly store: Pick<Store, 'read' | 'readOne'>;
  readonly ecs: EcsApi;
  readonly clock: Clock;
  /** Told, before the wait, how many differences will be looked at again. */
  readonly onLookAgain?: (differences: number, waitMs: number) => void;
}

export interface AuditRequest {
  /** Names or ARNs; null: every cluster of the region. */
  readonly clusters: readonly string[] | null;
  /** What the audit before this one returned; `emptyAuditMemory` for the first. */
  readonly memory: AuditMemory;
}

/**
 * How long both sides are given to agree by themselves: a record follows ecs-agent within 11 s (poll of 10 s and 1 s),
 * and ECS is eventually consistent: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeContainerInstances.html
 */
export const LOOK_AGAIN_AFTER_MS = 12_000;
/** The first one included. What is another difference in each is noted as changing. */
const MAX_LOOKS = 4;

/**
 * Store against ECS. A difference is one that two looks, `LOOK_AGAIN_AFTER_MS` apart, have found. Either both sides
 * answered in full or this rejects, with a `StoreError`, an `EcsError`, a `RollcallError` where there was nothing to
 * compare, or the reason of `signal`: the caller sets the deadline. Writes nothing anywhere.
 * Asks ECS for every 100 instances twice, and twice more for every 100 differences; the store for the roll once.
 */
export async function runAudit(
  { store, ecs, clock, onLookAgain }: AuditDeps,
  { clusters, memory }: AuditRequest,
  signal: AbortSignal,
): Promise<{ readonly report: AuditReport; readonly memory: AuditMemory }> {
  const startedMs = clock.wallMs();
  const roll = await store.read(signal);
  const enumeration = await enumerateInstances(ecs, clusters && onceEach(clusters), signal);
  if (enumeration.clusters.length === 0) {
    throw new RollcallError(`${ecs.label} has no ECS cluster in this account; see --region and --profile`);
  }
  const scopes = await findScopes(ecs, clusters ?? [], enumeration.instances, signal);
  let sides = { roll, ...enumeration, all: clusters === null, scopes };
  let verdicts = compareRolls(sides, memory, clock.wallMs());
  const confirmed = new Set<string>();
  for (let look = 1; look < MAX_LOOKS; look += 1) {
    const suspects = unconfirmed(verdicts, confirmed);
    if (suspects.length === 0) break;
    onLookAgain?.(suspects.length, LOOK_AGAIN_AFTER_MS);
    await clock.sleep(LOOK_AGAIN_AFTER_MS, signal);
    sides = { ...sides, ...(await lookAgain({ store, ecs }, sides, suspects, signal)) };
    verdicts = compareRolls(sides, memory, clock.wallMs());
    const before = new Set(suspects.map(verdictKey));
    for (const key of verdicts.map(verdictKey).filter((key) => before.has(key))) confirmed.add(key);
  }
  const changing = new Set(unconfirmed(verdicts, confirmed));
  const settled = verdicts.map((verdict) => (changing.has(verdict) ? asChanging(verdict) : verdict));
  const finishedMs = clock.wallMs();
  const about = { clusters: enumeration.clusters, startedMs, finishedMs, revision: sides.roll.revision };
  return { report: buildAuditReport(settled, about), memory: remember(memory, settled, finishedMs) };
}

/** An ARN says more than its name does; two ARNs of one name are two clusters, of which ECS here has at most one. */
function onceEach(clusters: readonly string[]): string[] {
  const arns = clusters.filter((cluster) => cluster.includes(':'));
  const names = clusters.filter((cluster) => !arns.some((arn) => arn === cluster || arn.endsWith(`/${cluster}`)));
  return [...new Set([...arns, ...names])];
}

function unconfirmed(verdicts: readonly Verdict[], confirmed: ReadonlySet<string>): Verdict[] {
  return verdicts.filter((verdict) => isDifference(verdict.kind) && !confirmed.has(verdictKey(verdict)));
}

function asChanging(verdict: Verdict): Verdict {
  return {
    ...verdict,
    kind: 'changing',
    since: null,
    reason: `changed with every look, last ${verdict.kind}: ${verdict.reason}`,
  };
}

/** The region and account that ECS answered for: any ARN of theirs says it. A node of another one is no stray. */
async function findScopes(
  ecs: EcsApi,
  clusters: readonly string[],
  instances: readonly ContainerInstance[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const known = [
    ...instances.map((each) => each.containerInstanceArn),
    ...clusters.filter((each) => each.includes(':')),
  ];
  const arns = known.length > 0 ? known : (await ecs.listClusters(null, signal)).arns;
  return new Set(arns.map(arnScope));
}
