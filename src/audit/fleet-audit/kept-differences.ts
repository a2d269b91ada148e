import { createHash } from 'node:crypto';
import { shortId } from '../../ecs/arn.ts';
import {
  decodeDifference,
  encodeDifference,
  KEPT_DIFFERENCE_KINDS,
  type KeptDifference,
} from '../../record/difference.ts';
import { differenceKey } from '../../store/keys.ts';
import { type AuditReport, type Difference, isUndecided } from '../audit-report.ts';

/** What an audit found, as keys of the store. */
export interface FoundDifferences {
  /** Key → encoded `KeptDifference`. */
  readonly wanted: ReadonlyMap<string, string>;
  /** Instances that the audit could not tell about: what is kept of them stays. */
  readonly undecided: ReadonlySet<string>;
}

/** Ghosts, strays and mismatches. That ECS has an ecs-agent disconnected is the check `ecs-connection` of its node. */
export function findDifferences({ differences, notes, finishedAt }: AuditReport): FoundDifferences {
  const wanted = new Map<string, string>();
  for (const difference of differences) {
    const kind = KEPT_DIFFERENCE_KINDS.find((each) => each === difference.kind);
    if (kind === undefined) continue;
    // The first audit that finds it may not know since when it has been so.
    const kept: KeptDifference = { ...bounded(difference), kind, since: difference.since ?? finishedAt };
    wanted.set(keyOf(difference), encodeDifference(kept));
  }
  const undecided = notes.filter(({ kind }) => isUndecided(kind)).map(({ instanceId }) => instanceId ?? '-');
  return { wanted, undecided: new Set(undecided) };
}

function keyOf({ kind, instanceId, containerInstanceArn }: Difference): string {
  // An instance may have several container instances, and a ghost may have no instance id.
  return differenceKey(
    kind,
    `${instanceId ?? '-'}:${containerInstanceArn === null ? '-' : keyWord(containerInstanceArn)}`,
  );
}

/** A stray's ARN is what the node wrote in its record. The key becomes the id of an event, and so a header and a line. */
function keyWord(containerInstanceArn: string): string {
  const id = shortId(containerInstanceArn);
  return /^[\w-]{1,64}$/.test(id) ? id : createHash('sha256').update(id).digest('hex').slice(0, 32);
}

/** All of one audit go into one transaction: etcd refuses more than 1.5 MiB. ECS's own are far shorter. */
const MAX_ARN_CHARS = 512;
const MAX_CLUSTER_CHARS = 255;
const MAX_REASON_CHARS = 1_000;

function bounded(difference: Difference): Difference {
  const { cluster, containerInstanceArn, reason } = difference;
  return {
    ...difference,
    cluster: (cluster ?? '').length <= MAX_CLUSTER_CHARS ? cluster : null,
    containerInstanceArn: (containerInstanceArn ?? '').length <= MAX_ARN_CHARS ? containerInstanceArn : null,
    reason: reason.slice(0, MAX_REASON_CHARS),
  };
}

/** Each is sent to every watcher of the roll, and read with it. */
const MAX_KEPT = 500;
/** In one transaction, of which etcd takes 128 operations. The rest follows with the next audit. */
const MAX_CHANGES = 100;

/**
 * What is to be written; null: the key is removed. One that is there already is not written again, however its reason
 * changes: the store has it as it was found.
 * @param stored by key
 */
export function differenceChanges(
  stored: ReadonlyMap<string, string>,
  { wanted, undecided }: FoundDifferences,
): Readonly<Record<string, string | null>> {
  const gone = [...stored.keys()].filter((key) => !wanted.has(key) && !undecided.has(instanceOf(key)));
  const added = [...wanted]
    .filter(([key]) => !stored.has(key))
    .slice(0, Math.max(0, MAX_KEPT - stored.size + gone.length));
  const changes = [...gone.map((key) => [key, null] as const), ...added];
  return Object.fromEntries(changes.slice(0, MAX_CHANGES));
}

/** The strays among kept differences: instance id → ARN. @param stored by key */
export function straysOf(stored: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const strays = new Map<string, string>();
  for (const text of stored.values()) {
    const decoded = decodeDifference(text);
    if (!decoded.ok || decoded.value.kind !== 'stray') continue;
    const { instanceId, containerInstanceArn } = decoded.value;
    if (instanceId !== null && containerInstanceArn !== null) strays.set(instanceId, containerInstanceArn);
  }
  return strays;
}

function instanceOf(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1).split(':')[0] ?? '';
}

/** What the store has after the changes. */
export function withChanges(
  stored: ReadonlyMap<string, string>,
  changes: Readonly<Record<string, string | null>>,
): ReadonlyMap<string, string> {
  const next = new Map(stored);
  for (const [key, text] of Object.entries(changes)) {
    if (text === null) next.delete(key);
    else next.set(key, text);
  }
  return next;
}
