import type { ContainerInstance } from '../ecs/container-instance.ts';
import type { EcsApi } from '../ecs/ecs-api.ts';
import { enumerateInstances } from '../ecs/enumerate-instances.ts';
import { RollcallError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import type { Clock } from '../timing/clock.ts';
import { arnScope } from './arn-scope.ts';
import { type AuditMemory, remember } from './audit-memory.ts';
import type { AuditReport } from './audit-report.ts';
import { buildReport } from './build-report.ts';
import { compareRolls } from './compare-rolls.ts';
import { lookAgain } from './look-again.ts';
import { isDifference, type Verdict, verdictKey } from './verdict.ts';

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
  return { report: buildReport(settled, about), memory: remember(memory, settled, finishedMs) };
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
