import type { ContainerInstance } from '../ecs/ecs-api.ts';
import type { Finding } from '../record/difference.ts';
import type { NodeRecord } from '../record/record.ts';
import type { RollEntry } from '../record/roll.ts';

/**
 * `ghost`: in ECS, not present on the roll. `stray`: present on the roll, not in ECS. `disconnected`: in both, but its
 * ecs-agent is disconnected. `mismatch`: in both, with another ARN, cluster or instance id.
 */
export const DIFFERENCE_KINDS = ['ghost', 'stray', 'disconnected', 'mismatch'] as const;
export type DifferenceKind = (typeof DIFFERENCE_KINDS)[number];

/**
 * Findings that are not differences. `disconnected-now`: for an unknown time; healthy agents disconnect several times an
 * hour. `registering`, `deregistering`: ECS is doing it, or rollcall may register soon. `unregistered`: present, but its
 * ecs-agent has no ARN yet. `unreadable`, `changing`: the audit could not tell. `vanished`: nor could it, because the ghost is
 * one of many that are new at once.
 */
export const NOTE_KINDS = [
  'disconnected-now',
  'registering',
  'deregistering',
  'unregistered',
  'unreadable',
  'changing',
  'vanished',
] as const;
export type NoteKind = (typeof NOTE_KINDS)[number];

/** A node or container instance that differs between the store and ECS, in two comparisons. */
export interface Difference extends Finding {
  readonly kind: DifferenceKind;
}

export interface Note extends Finding {
  readonly kind: NoteKind;
}

/** The result of an audit: the JSON of `rollcall audit -o json`, of `/v1/audit`, and in the store. */
export interface AuditReport {
  readonly schemaVersion: 1;
  /** Names of the clusters that were compared. */
  readonly clusters: readonly string[];
  /** RFC 3339. */
  readonly startedAt: string;
  readonly finishedAt: string;
  /** The store's revision of the last roll that was compared. */
  readonly revision: string;
  /** Number of nodes that are equal on both sides. */
  readonly agreeing: number;
  /** Number of present nodes that were not compared, because they are in another cluster, region or account. */
  readonly elsewhere: number;
  /** Sorted by kind, then cluster, instance and ARN. */
  readonly differences: readonly Difference[];
  /** In the same order. */
  readonly notes: readonly Note[];
}

/** True if the node may or may not differ, so that an audit without differences does not mean that both sides agree. */
export function isUndecided(kind: NoteKind): boolean {
  return kind === 'unreadable' || kind === 'changing' || kind === 'vanished';
}

/** The result for one node, one container instance, or both together. */
export interface Verdict {
  readonly kind: 'agreeing' | 'elsewhere' | DifferenceKind | NoteKind;
  /** The container instance. Each is in exactly one verdict. */
  readonly instance: ContainerInstance | null;
  /** The present node. Each is in exactly one verdict. */
  readonly node: RollEntry | null;
  /** The last record of the EC2 instance, present or not. */
  readonly record: NodeRecord | null;
  /** RFC 3339; null: unknown. */
  readonly since: string | null;
  /** Empty if there is nothing to add. */
  readonly reason: string;
}

export function isDifference(kind: Verdict['kind']): kind is DifferenceKind {
  return (DIFFERENCE_KINDS as readonly string[]).includes(kind);
}

export function instanceIdOf({ instance, record }: Verdict): string | null {
  return record?.ec2InstanceId ?? instance?.ec2InstanceId ?? null;
}

export function arnOf({ instance, record }: Verdict): string | null {
  return instance?.containerInstanceArn ?? record?.containerInstanceArn ?? null;
}

/** Equal for two verdicts about the same difference in two comparisons. */
export function verdictKey(verdict: Verdict): string {
  const kind = verdict.kind === 'disconnected-now' ? 'disconnected' : verdict.kind;
  return `${kind} ${instanceIdOf(verdict) ?? '-'} ${arnOf(verdict) ?? '-'}`;
}
