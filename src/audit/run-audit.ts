import { arnScope, clusterOf, isContainerInstanceArn } from '../ecs/arn.ts';
import type { ContainerInstance, EcsApi } from '../ecs/ecs-api.ts';
import { describeInstances, enumerateInstances, type OnUnexpected } from '../ecs/list-instances.ts';
import type { Clock } from '../lib/clock.ts';
import { RollcallError } from '../lib/errors.ts';
import { publishedSkew } from '../record/node-clock.ts';
import type { Roll } from '../record/roll.ts';
import type { Store } from '../store/store.ts';
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
} from './audit-report.ts';
import { type BothSides, compareRolls } from './compare.ts';
import { type AuditMemory, remember } from './history.ts';
import { type VanishLimits, withoutVanished } from './vanished.ts';

interface AuditDeps {
  readonly store: Pick<Store, 'read' | 'readOne'>;
  readonly ecs: EcsApi;
  readonly clock: Clock;
  /** Called before each wait, with the number of differences to check again. */
  readonly onRecheck?: (differences: number, waitMs: number) => void;
  readonly onUnexpected?: OnUnexpected | undefined;
}

interface AuditRequest {
  /** Names or ARNs; null: all clusters of the region. */
  readonly clusters: readonly string[] | null;
  /** The memory that the previous audit returned; `emptyAuditMemory` for the first. */
  readonly memory: AuditMemory;
  /** null: every ghost counts at once, as a single audit has no memory to tell by. */
  readonly vanish?: VanishLimits | null;
}

interface Audited {
  readonly report: AuditReport;
  readonly memory: AuditMemory;
  /** By how much this machine's clock is ahead of ECS's, in whole minutes; 0: less than a minute, null: not known. */
  readonly skewSeconds: number | null;
}

/**
 * The time for both sides to become equal by themselves: a record follows ecs-agent within 11 s (poll interval 10 s, plus
 * 1 s), and ECS is eventually consistent: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeContainerInstances.html
 */
export const RECHECK_AFTER_MS = 12_000;
/** Including the first. A node that differs in another way each time becomes the note `changing`. */
const MAX_COMPARISONS = 4;

/**
 * Compares the store with ECS. A difference counts only if two comparisons, `RECHECK_AFTER_MS` apart, find it. Writes
 * nothing. The caller sets the deadline. Rejects if a side does not answer completely: with a `StoreError`, an `EcsError`,
 * a `RollcallError` if there is no cluster, or the reason of `signal`.
 * Sends ECS two requests per 100 instances, plus two per 100 differences; reads the roll once.
 */
export async function runAudit(
  { store, ecs, clock, onRecheck, onUnexpected }: AuditDeps,
  { clusters, memory, vanish = null }: AuditRequest,
  signal: AbortSignal,
): Promise<Audited> {
  const startedMs = clock.monotonicMs();
  // On ECS's clock, which what is compared goes by: a machine whose own is off would find what lasts for hours, or nothing.
  const skewSeconds = () => publishedSkew(null, ecs.clockSkewMs?.() ?? null);
  const wallMs = () => clock.wallMs() - 1_000 * (skewSeconds() ?? 0);
  const roll = await store.read(signal);
  const enumeration = await enumerateInstances(ecs, clusters && withoutDuplicates(clusters), signal, onUnexpected);
  if (enumeration.clusters.length === 0) {
    throw new RollcallError(`${ecs.label} has no ECS cluster in this account; see --region and --profile`);
  }
  const scopes = await findScopes(ecs, clusters ?? [], enumeration.instances, signal);
  let sides = { roll, ...enumeration, all: clusters === null, scopes };
  let verdicts = compareRolls(sides, memory, wallMs());
  const confirmed = new Set<string>();
  for (let comparison = 1; comparison < MAX_COMPARISONS; comparison += 1) {
    const suspects = unconfirmedDifferences(verdicts, confirmed);
    if (suspects.length === 0) break;
    onRecheck?.(suspects.length, RECHECK_AFTER_MS);
    await clock.sleep(RECHECK_AFTER_MS, signal);
    sides = { ...sides, ...(await rereadSides({ store, ecs, onUnexpected }, sides, suspects, signal)) };
    verdicts = compareRolls(sides, memory, wallMs());
    const before = new Set(suspects.map(verdictKey));
    for (const key of verdicts.map(verdictKey).filter((key) => before.has(key))) confirmed.add(key);
  }
  const changing = new Set(unconfirmedDifferences(verdicts, confirmed));
  const known = verdicts.map((verdict) => (changing.has(verdict) ? asChanging(verdict) : verdict));
  const finishedMs = wallMs();
  const finalVerdicts = vanish ? withoutVanished(known, memory, finishedMs, vanish) : known;
  const about = {
    clusters: enumeration.clusters,
    startedMs: finishedMs - (clock.monotonicMs() - startedMs),
    finishedMs,
    revision: sides.roll.revision,
  };
  return {
    report: buildAuditReport(finalVerdicts, about),
    memory: remember(memory, finalVerdicts, finishedMs, vanish?.maxGapMs),
    skewSeconds: skewSeconds(),
  };
}

/** Removes duplicates, and a name if its ARN is given too. Two ARNs with the same name are two clusters. */
function withoutDuplicates(clusters: readonly string[]): string[] {
  const arns = clusters.filter((cluster) => cluster.includes(':'));
  const names = clusters.filter((cluster) => !arns.some((arn) => arn === cluster || arn.endsWith(`/${cluster}`)));
  return [...new Set([...arns, ...names])];
}

function unconfirmedDifferences(verdicts: readonly Verdict[], confirmed: ReadonlySet<string>): Verdict[] {
  return verdicts.filter((verdict) => isDifference(verdict.kind) && !confirmed.has(verdictKey(verdict)));
}

function asChanging(verdict: Verdict): Verdict {
  return {
    ...verdict,
    kind: 'changing',
    since: null,
    reason: `changed at each comparison, last ${verdict.kind}: ${verdict.reason}`,
  };
}

/** Region and account of the ECS API, from any of its ARNs. A node of another scope is not a stray. */
async function findScopes(
  ecs: EcsApi,
  clusters: readonly string[],
  instances: readonly ContainerInstance[],
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const knownArns = [
    ...instances.map((each) => each.containerInstanceArn),
    ...clusters.filter((each) => each.includes(':')),
  ];
  const arns = knownArns.length > 0 ? knownArns : (await ecs.listClusters(null, signal)).arns;
  return new Set(arns.map(arnScope));
}

/** Above this number the whole roll is read, which is then cheaper. */
const MAX_SINGLE_READS = 100;

type Sides = BothSides & { readonly roll: Roll };

/**
 * Reads again only the nodes and container instances of these verdicts. The store is read first, because a record may now
 * name a container instance that was not in ECS's list.
 */
async function rereadSides(
  { store, ecs, onUnexpected }: Pick<AuditDeps, 'store' | 'ecs' | 'onUnexpected'>,
  sides: Sides,
  suspects: readonly Verdict[],
  signal: AbortSignal,
): Promise<Pick<Sides, 'roll' | 'instances'>> {
  const ids = new Set(suspects.map(instanceIdOf));
  const roll = await rereadRoll(store, sides.roll, ids, signal);
  const clusterByArn = new Map<string, string>();
  const add = (arn: string | null, cluster: string | null) => {
    if (arn !== null && cluster !== null && sides.clusters.includes(cluster)) clusterByArn.set(arn, cluster);
  };
  for (const { instance } of suspects) add(instance?.containerInstanceArn ?? null, instance?.cluster ?? null);
  for (const { containerInstanceArn, ec2InstanceId, cluster } of sides.instances) {
    if (ids.has(ec2InstanceId)) add(containerInstanceArn, cluster);
  }
  for (const { record } of [...sides.roll.entries, ...roll.entries]) {
    const { containerInstanceArn: arn, ec2InstanceId } = record;
    // One invalid ARN in a record would make ECS refuse the whole request.
    if (!ids.has(ec2InstanceId) || arn === null || !isContainerInstanceArn(arn)) continue;
    if (sides.scopes.has(arnScope(arn))) add(arn, clusterOf(record));
  }
  const again = await describeEach(ecs, clusterByArn, signal, onUnexpected);
  return {
    roll,
    instances: [...sides.instances.filter((each) => !clusterByArn.has(each.containerInstanceArn)), ...again],
  };
}

async function rereadRoll(
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

/** @param clusterByArn ARN → the name of its cluster */
async function describeEach(
  ecs: EcsApi,
  clusterByArn: ReadonlyMap<string, string>,
  signal: AbortSignal,
  onUnexpected: OnUnexpected | undefined,
): Promise<readonly ContainerInstance[]> {
  const instances: ContainerInstance[] = [];
  for (const cluster of new Set(clusterByArn.values())) {
    const arns = [...clusterByArn.keys()].filter((arn) => clusterByArn.get(arn) === cluster);
    instances.push(...(await describeInstances(ecs, cluster, arns, signal, onUnexpected)));
  }
  return instances;
}

/** @param about cluster names; instants on the wall clock */
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
